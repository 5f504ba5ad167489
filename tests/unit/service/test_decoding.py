"""Decoding threads: who decodes where, and who stands back for whom."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from models.errors import ImageTooLarge, UnsupportedImage
from models.imaging import Limits
from service.backends.base import Candidate
from service.decoding import BIG_PIXELS, SMALL_BYTES, SMALL_PIXELS, Decoder
from service.niceness import BIG_IMAGES, NOT_URGENT, step_back
from service.registry import Registry
from service.settings import load_settings
from service.tuning import Plan
from tests.support.images import encoded, plain
from tests.unit.service.stand_ins import PATIENCE_S, Fake, until

SMALLEST = plain(0, width=256, height=256)
MIDDLING = plain(0, width=256, height=257)
JUST_MIDDLING = encoded("PNG", 2000, 1000)
BIG = encoded("JPEG", 2001, 1000)

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities for threads")


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    """Two threads for images of middling size."""
    made = Decoder(2, Limits(max_pixels=3_000_000))
    yield made
    made.close()


def priority(_data: bytes = b"") -> int:
    """The calling thread's: the lower, the more it gets."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def stepped_back(steps: int) -> int:
    """What a thread of ours has that stood back, however nice the tests are themselves."""
    return min(19, priority() + steps)


def name(_data: bytes) -> str:
    return threading.current_thread().name


async def test_big_images_and_middling_ones_have_threads_of_their_own_and_the_smallest_none(
    decoder: Decoder,
) -> None:
    assert (SMALL_PIXELS, BIG_PIXELS) == (256 * 256, 2000 * 1000)
    assert (await decoder.run(name, SMALLEST)).value == threading.current_thread().name
    for data, prefix in ((MIDDLING, "decode_"), (JUST_MIDDLING, "decode_"), (BIG, "decode-big_")):
        decoded = await decoder.run(name, data)
        assert decoded.value.startswith(prefix)
        assert decoded.took >= 0


async def test_a_small_picture_in_many_bytes_is_no_small_image(decoder: Decoder) -> None:
    assert (await decoder.run(name, SMALLEST + bytes(SMALL_BYTES))).value.startswith("decode_")


@linux
async def test_the_thread_for_big_images_stands_back_and_those_for_others_do_not(decoder: Decoder) -> None:
    ours = priority()
    assert (await decoder.run(priority, BIG)).value == stepped_back(BIG_IMAGES)
    assert (await decoder.run(priority, MIDDLING)).value == ours
    assert priority() == ours


@linux
def test_threads_of_a_thread_that_stood_back_stand_back_too() -> None:
    found: list[int] = []

    def outer() -> None:
        step_back(3)
        inner = threading.Thread(target=lambda: found.append(priority()))
        inner.start()
        inner.join()

    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    assert found == [stepped_back(3)]


def test_where_threads_have_no_priority_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("it would lower the whole process"))
    monkeypatch.setattr("service.niceness.sys.platform", "darwin")
    step_back(3)


def test_a_sandbox_that_forbids_it_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_args: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbid)
    step_back(3)


@linux
async def test_versions_are_loaded_by_a_thread_that_stands_back_but_start_where_requests_are_served() -> None:
    seen: dict[str, int] = {}

    class Telling(Fake):
        async def start(self) -> None:
            await super().start()
            seen["started"] = priority()

    def load(_inherited: Plan | None) -> Telling:
        seen["loaded"] = priority()
        return Telling()

    registry = Registry(load_settings())
    await registry.open({"a": [Candidate("1", load)]})
    assert seen == {"loaded": stepped_back(NOT_URGENT), "started": priority()}
    await registry.close()


async def test_a_big_image_waits_for_the_big_one_before_it_while_small_ones_pass(decoder: Decoder) -> None:
    go_on, begun = threading.Event(), []

    def slowly(data: bytes) -> str:
        begun.append(data)
        assert go_on.wait(PATIENCE_S)
        return name(data)

    big = [asyncio.ensure_future(decoder.run(slowly, BIG)) for _ in range(2)]
    await until(lambda: begun, "the first is decoded")
    assert (await decoder.run(name, MIDDLING)).value.startswith("decode_")
    assert len(begun) == 1
    go_on.set()
    assert {(await one).value for one in big} == {"decode-big_0"}


@pytest.mark.parametrize(("data", "error"), [(b"no image", UnsupportedImage), (encoded("PNG", 3001, 1000), ImageTooLarge)])
async def test_what_the_header_gives_away_is_refused_without_a_thread(
    decoder: Decoder, data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await decoder.run(lambda _data: pytest.fail("it was decoded"), data)


async def test_an_error_of_the_decoding_reaches_who_asked(decoder: Decoder) -> None:
    def fail(_data: bytes) -> None:
        raise UnsupportedImage("half a file")

    for data in (SMALLEST, MIDDLING, BIG):
        with pytest.raises(UnsupportedImage, match="half a file"):
            await decoder.run(fail, data)


async def test_closing_ends_the_threads() -> None:
    decoder = Decoder(1, Limits())
    threads = [(await decoder.run(lambda _data: threading.current_thread(), data)).value for data in (MIDDLING, BIG)]
    decoder.close()
    assert not any(thread.is_alive() for thread in threads)
