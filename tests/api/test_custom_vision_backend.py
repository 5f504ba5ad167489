"""A published iteration of Custom Vision beside the models of the store, through the whole service, and through several."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import func, select

from service.backends.quota import SPEND
from service.database import Database
from service.settings import Settings, load_settings
from service.tally import Outcome
from tests.api.conftest import LABELS
from tests.support import postgres
from tests.support.custom_vision.accounts import Served, serving_account
from tests.support.custom_vision.faults import Faults, reply_of
from tests.support.custom_vision.hammer import hammer
from tests.support.custom_vision.state import PREDICTION_KEY, Account
from tests.support.images import encoded, plain
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, problem_of, serving

FACTOR = 5
"""By which the tier's rates are multiplied: S0 without storing takes 100 a second."""
BROKEN: Any = {"500": 0.05, "hang": 0.01, "html": 0.01, "empty": 0.01, "null": 0.01}


@pytest.fixture
def there() -> Iterator[Served]:
    account = Account()
    account.published(LABELS)
    with serving_account(account, factor=FACTOR) as found:
        yield found


def remote(there: Served, **more: object) -> dict[str, Any]:
    (project,) = there.predictions.account.projects
    chosen = {"endpoint": there.url, "key": PREDICTION_KEY, "project": project, "published_name": "production"}
    return {f"custom_vision__{name}": value for name, value in (chosen | {"rate": 20 * FACTOR} | more).items()}


def is_ready(server: Server) -> bool:
    return bool(server.backend("custom_vision")["state"] == "ready")


def month_calls(server: Server) -> int:
    return int(server.backend("custom_vision")["remote"]["month"]["calls"])


def test_it_stands_beside_the_models_of_the_store(home: Path, there: Served) -> None:
    with serving(home, **remote(there, usd_per_1000=2, monthly_calls=100)) as server, server.client() as client:
        eventually(lambda: is_ready(server), "it has answered")
        shown = server.backend("custom_vision")
        assert (shown["kind"], shown["labels"]) == ("custom_vision", sorted(LABELS))
        one = client.post("/v1/classify?backend=custom_vision&top=1", content=plain(255)).json()
        assert (one["backend"], one["predictions"][0]["label"]) == ("custom_vision", "bright")
        both = client.post("/v1/compare", content=plain(0)).json()
        assert (list(both["results"]), both["agree"]) == (["custom_vision", "tiny"], True)
        assert server.backend("tiny")["default"], "nothing goes elsewhere unless it is asked for"
        bad = client.post("/v1/classify?backend=custom_vision", content=encoded("JPEG")[:200])
        assert (bad.status_code, problem_of(bad)) == (422, "broken-image")
        eventually(lambda: month_calls(server) == 3, "what was held in hand was given back")
        shown = server.backend("custom_vision")["remote"]
        assert shown["month"] == {"calls": 3, "budget": 100, "usd": 0.006}
        assert (shown["calls"], shown["breaker"], shown["calls_per_second"]) == ({"answered": 3}, "closed", 20 * FACTOR)
        assert server.metric("parallax_remote_calls_total", backend="custom_vision", outcome="answered") == 3
        assert server.metric("parallax_remote_usd_total", backend="custom_vision") == pytest.approx(0.006)
        assert server.metric("parallax_remote_month_calls", backend="custom_vision") == 3
        assert server.metric("parallax_remote_breaker_open", backend="custom_vision") == 0
        told = [server.records, client.get("/v1/backends").json(), client.get("/metrics").text]
        assert PREDICTION_KEY not in json.dumps(told)
    assert len(there.predictions.asked) == 3


def test_a_month_s_budget_outlives_the_server(home: Path, there: Served) -> None:
    for left in (1, 0):
        with serving(home, clean=False, **remote(there, monthly_calls=2)) as server, server.client() as client:
            if left:
                eventually(lambda server=server: is_ready(server), "it has answered")  # type: ignore[misc]
                assert client.post("/v1/classify?backend=custom_vision", content=plain(0)).status_code == 200
            spent = client.post("/v1/classify?backend=custom_vision", content=plain(0))
            assert (spent.status_code, problem_of(spent)) == (429, "budget-spent")
            assert 0 < int(spent.headers["retry-after"]) <= 31 * 86_400
            assert month_calls(server) == 2
            assert client.get("/readyz").status_code == 200
            assert client.post("/v1/compare", content=plain(0)).json()["results"]["custom_vision"]["code"] == "budget-spent"
    assert len(there.predictions.asked) == 2


def test_one_that_is_down_holds_up_nobody_for_long(home: Path, there: Served) -> None:
    there.predictions.faults.always = reply_of("hang")
    with serving(home, clean=False, **remote(there, timeout_s=2, attempt_timeout_s=0.2)) as server, server.client() as client:
        assert client.get("/readyz").status_code == 200

        def compared() -> bool:
            results = client.post("/v1/compare", content=plain(0)).json()["results"]
            assert results["tiny"]["predictions"][0]["label"] == "dark"
            return bool(results["custom_vision"]["code"] == "remote-down")

        eventually(compared, "the breaker has opened")
        asked = len(there.predictions.asked)
        both = client.post("/v1/compare", content=plain(0))
        assert both.elapsed.total_seconds() < 1.5, "it is not waited for any more"
        refused = client.post("/v1/classify?backend=custom_vision", content=plain(0))
        assert (refused.status_code, problem_of(refused)) == (503, "remote-down")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert len(there.predictions.asked) <= asked + 1, "a probe at most"
        assert server.metric("parallax_remote_breaker_open", backend="custom_vision") > 0
        assert server.metric("parallax_remote_calls_total", backend="custom_vision", outcome="timed_out") >= 5


def hammered(there: Served, servers: list[Server], shared: Settings, images: int = 300) -> None:
    """Every image is answered, once; each request was counted; and the rate was never over the tier's."""
    for server in servers:
        eventually(lambda server=server: is_ready(server), "it has answered")  # type: ignore[misc]
    before = len(there.predictions.predicted)
    there.predictions.faults.rates = BROKEN
    assert hammer([server.url for server in servers], images) == dict.fromkeys(LABELS, images // 3)
    asked = there.predictions.asked
    assert len(there.predictions.predicted) - before == images, "none was counted twice"
    assert len(asked) > images + before, "some were asked again"
    assert there.predictions.busiest_second <= there.predictions.rate(store=False)
    assert not [one for one in asked if one.status == 429], "so it never had to refuse"

    def sent() -> float:
        """Requests that left, by the servers' metrics; of several workers, what one of them tells is up to a second old."""
        made = {outcome: sum(calls(server, outcome) for server in servers) for outcome in get_args(Outcome)}
        return sum(made.values()) - made["unreachable"]

    eventually(lambda: asyncio.run(spent(shared)) == sent(), "each request was counted, and no other")
    lost = sum(calls(server, "timed_out") for server in servers)
    assert sent() - lost <= len(asked) <= sent(), "one that took too long may never have arrived"


async def spent(settings: Settings) -> int:
    """What the database says of this month, of whatever account."""
    database = Database(settings)
    try:
        return await database.run(lambda connection: connection.execute(select(func.sum(SPEND.c.calls))).scalar_one())
    finally:
        await database.close()


def calls(server: Server, outcome: str) -> float:
    return server.metric("parallax_remote_calls_total", backend="custom_vision", outcome=outcome)


def test_nothing_is_lost_when_much_goes_wrong(home: Path, there: Served) -> None:
    with serving(home, clean=False, **remote(there, attempt_timeout_s=0.5)) as server:
        hammered(there, [server], load_settings(data_dir=home / "data"))
        assert server.metric("parallax_remote_retries_total", backend="custom_vision") > 0
        assert server.metric("parallax_remote_wait_seconds_total", backend="custom_vision") > 0


def test_workers_of_one_machine_share_rate_and_budget(home: Path, there: Served) -> None:
    with serving(home, clean=False, workers=2, **remote(there, attempt_timeout_s=0.5)) as server:
        hammered(there, [server], load_settings(data_dir=home / "data"), 150)


def test_replicas_share_them_through_postgresql(tmp_path: Path, there: Served) -> None:
    programs = postgres.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running(programs) as url, ExitStack() as stack:
        servers = []
        for name in ("one", "two"):
            tiny_model(tmp_path / name / "store", labels=LABELS)
            settings = remote(there, attempt_timeout_s=0.5) | {"database_url": url}
            servers.append(stack.enter_context(serving(tmp_path / name, clean=False, **settings)))
        hammered(there, servers, load_settings(database_url=url))
        assert all(calls(server, "answered") > 50 for server in servers)
        assert url.partition(":")[2].partition("@")[0].rpartition(":")[2] not in "".join(server.text for server in servers)


def test_a_throttled_service_is_asked_again_when_it_said(home: Path, there: Served) -> None:
    """The rate of the settings is higher than what the resource takes, as when its tier was mistaken."""
    there.predictions.factor = 1
    with serving(home, clean=False, **remote(there, rate=40)) as server:
        eventually(lambda: is_ready(server), "it has answered")
        assert hammer([server.url], 60, at_once=32) == dict.fromkeys(LABELS, 20)
        assert calls(server, "throttled") > 0
        assert len(there.predictions.predicted) == 61


def test_it_is_reloaded_without_forgetting_its_counts(home: Path, there: Served) -> None:
    with serving(home, **remote(there)) as server, server.client() as client:
        eventually(lambda: is_ready(server), "it has answered")
        assert client.post("/v1/backends/custom_vision/reload").status_code == 200
        eventually(lambda: server.backend("custom_vision")["remote"]["calls"] == {"answered": 2}, "it has answered again")
        assert server.metric("parallax_remote_calls_total", backend="custom_vision", outcome="answered") == 2


def test_what_the_faults_draw_is_what_was_asked_for() -> None:
    faults = Faults(BROKEN, seed=1)
    drawn = [faults.next() for _ in range(10_000)]
    assert sum(one is not None and one.hangs for one in drawn) == pytest.approx(100, abs=40)
    assert sum(one is not None and one.status == 500 for one in drawn) == pytest.approx(500, abs=100)
