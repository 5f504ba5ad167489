"""The load generator: a process of its own, with one thread, one epoll loop and requests that were built beforehand; or wrk.

`python -m loadtest.bench.generator` reads a `Job` on its standard input. It writes lines of JSON: `{"event": "measuring"}` and
`{"event": "measured"}` when the measured time begins and ends, so that the caller can read the processors' clocks just then, and
last `{"event": "result", "outcomes": [...]}`. It knows HTTP and nothing of what it asks.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

from loadtest.bench import wrk
from loadtest.bench.connection import Connection, Poller
from loadtest.bench.jobs import Job, Outcome, Stream
from loadtest.bench.loops import ClosedLoop, Loop, OpenLoop
from loadtest.bench.recorder import Recorder
from loadtest.bench.replies import BrokenReply
from service.descriptors import allow_many


def run(job: Job, say: Callable[[str], None] = lambda _event: None) -> list[Outcome]:
    """Send what a job says, in this thread, until its last reply is here or its drain time is over.

    `say` is called with `measuring` and `measured` at these moments. Returns an outcome for each stream, in their order.
    """
    poller = Poller()
    try:
        return _run(job, poller, say)
    finally:
        poller.close()


def _run(job: Job, poller: Poller, say: Callable[[str], None]) -> list[Outcome]:
    clock = time.perf_counter
    start = clock()
    zero = start + job.warm_up_s
    end = zero + job.seconds
    loops = [_loop(job, stream, poller, start, zero, clock) for stream in job.streams]
    _turn(poller, loops, zero, clock)
    say("measuring")
    _turn(poller, loops, end, clock)
    say("measured")
    for loop in loops:
        loop.tick(end)  # what fell due in the last instant
    _turn(poller, loops, end + job.drain_s, clock, while_busy=True)
    return [loop.outcome(job.tick_s) for loop in loops]


def _loop(job: Job, stream: Stream, poller: Poller, start: float, zero: float, clock: Callable[[], float]) -> Loop:
    def connect(owner: Loop) -> Connection:
        return Connection(owner, poller, (job.host, job.port))

    recorder = Recorder(stream, zero, job.seconds)
    kind = ClosedLoop if stream.rate is None else OpenLoop
    return kind(stream, recorder, start if stream.begin_s == 0 else recorder.begin, connect, clock)


def _turn(poller: Poller, loops: list[Loop], until: float, clock: Callable[[], float], *, while_busy: bool = False) -> None:
    """Turn the event loop until a time, or, asked so, until nothing is under way any more."""
    connections = poller.connections
    while (now := clock()) < until and not (while_busy and not any(loop.busy for loop in loops)):
        wake = until
        for loop in loops:
            wake = min(wake, loop.tick(now))
        for descriptor, events in poller.wait(wake - clock()):
            connection = connections.get(descriptor)
            if connection is None:
                continue  # it failed while an event before this one was handled
            try:
                reply = connection.ready(events)
            except (OSError, BrokenReply) as exc:
                connection.owner.broke(connection, exc, clock())
            else:
                if reply is not None:
                    connection.owner.replied(connection, reply, clock())


def main() -> None:
    """Read a job, run it, write what came of it."""
    allow_many()
    job = Job.from_json(sys.stdin.read())
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a collection would show as latency

    def say(event: str, **more: object) -> None:
        sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
        sys.stdout.flush()

    outcomes = wrk.run(job, say) if wrk.fits(job) else run(job, say)
    say("result", outcomes=[asdict(outcome) for outcome in outcomes])


if __name__ == "__main__":
    main()
