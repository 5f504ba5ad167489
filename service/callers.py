"""Who waits in a batcher: alone, or with others for whom one task waits, so that it wakes once and not once for each."""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import BackendFailed, Closing

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(eq=False, slots=True)
class Caller(Generic[In, Out]):
    """An item that waits for its turn, and where its result goes. Times by `time.perf_counter`, deadlines by the loop's."""

    item: In
    answer: "asyncio.Future[Out] | Slot[Out]"
    name: str
    background: bool
    arrived: float
    deadline: float | None
    context: Context | None

    def refuse(self, reason: Exception) -> None:
        """Answer with an error, unless there is an answer already."""
        if isinstance(reason, StopIteration):  # no future carries that one
            reason = BackendFailed("The backend failed: StopIteration.")
        if not self.answer.done():
            self.answer.set_exception(reason)


class Together(Generic[Out]):
    """The slots of some callers, and a future for when all of them are set. Belongs to the running event loop."""

    def __init__(self, count: int) -> None:
        """`count`: at least one."""
        self.everyone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.slots = [Slot(self) for _ in range(count)]
        self._left = count

    @property
    def outcomes(self) -> list[Out | Exception]:
        """What became of each, in order. Those who were never answered are left out."""
        return [outcome for slot in self.slots for outcome in slot.outcome]

    def one_less(self) -> None:
        """One of them has its answer."""
        self._left -= 1
        if not self._left and not self.everyone.done():
            self.everyone.set_result(None)


class Slot(Generic[Out]):
    """One caller's answer, which is set as a future's is: an exception is kept, and raised nowhere."""

    __slots__ = ("_together", "outcome")

    def __init__(self, together: Together[Out]) -> None:
        self._together = together
        self.outcome: tuple[()] | tuple[Out | Exception] = ()

    def done(self) -> bool:
        """Whether it has its answer, or nobody waits for one any more."""
        return bool(self.outcome) or self._together.everyone.done()

    def set_result(self, result: Out) -> None:
        """The answer is there."""
        self._set(result)

    def set_exception(self, reason: Exception) -> None:
        """There will be none but this."""
        self._set(reason)

    def _set(self, outcome: Out | Exception) -> None:
        self.outcome = (outcome,)
        self._together.one_less()


def settle(callers: Sequence[Caller[In, Out]], batch: "asyncio.Future[Sequence[Out | Exception]]") -> bool:
    """Give every caller of a batch that has ended what became of its item. Returns whether the batch as a whole failed."""
    error = None if batch.cancelled() else batch.exception()
    if batch.cancelled() or (error is not None and not isinstance(error, Exception)):
        error = Closing("The backend was stopped while it classified this image.")
    elif error is None:
        error = _miscounted(batch.result(), len(callers))
    if error is not None:
        for caller in callers:
            caller.refuse(error)
        return True
    for caller, result in zip(callers, batch.result(), strict=True):
        if isinstance(result, Exception):
            caller.refuse(result)
        elif not caller.answer.done():
            caller.answer.set_result(result)
    return False


def _miscounted(results: object, wanted: int) -> Exception | None:
    """The error of a backend that does not keep its contract, if it does not."""
    if not isinstance(results, Sequence):
        return BackendFailed(f"The backend returned {type(results).__name__} instead of {wanted} results.")
    return None if len(results) == wanted else BackendFailed(f"The backend returned {len(results)} results for {wanted} images.")
