"""Traces and metrics of a running server, as a collector gets them."""

from pathlib import Path
from typing import Any

from tests.support.collector import collecting
from tests.support.images import plain
from tests.support.server import eventually, serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
KEY = "a-key-that-nobody-guesses"


def test_a_collector_gets_the_trace_of_a_request_and_the_metrics_that_prometheus_would(home: Path) -> None:
    settings: dict[str, Any] = {"otel__sample": 0.0, "otel__metrics_s": 3600, "api_keys": f"me:{KEY}", "log_level": "debug"}
    with collecting() as collector:
        with serving(home, otel__endpoint=collector.url, **settings) as server, server.client() as client:
            headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "authorization": f"Bearer {KEY}"}
            reply = client.post("/v1/classify?top=1", content=plain(0), headers=headers).raise_for_status()
            # Of this one nobody has decided, and none is sampled.
            client.post("/v1/classify?top=1", content=plain(0), headers={"authorization": f"Bearer {KEY}"}).raise_for_status()
        names = [span.name for span in collector.spans]
        assert sorted(names) == ["POST /v1/classify", "classify tiny", "decode", "infer", "queue", "upload"]
        assert {span.data.trace_id.hex() for span in collector.spans} == {TRACE}
        root = collector.span("POST /v1/classify")
        assert root.data.parent_span_id.hex() == "00f067aa0ba902b7"
        assert root.facts["parallax.request_id"] == reply.json()["request_id"]
        assert root.facts["parallax.caller"] == "me"
        assert root.who["service.name"] == "parallax"
        line = next(record for record in server.records if record.get("trace_id") == TRACE)
        assert (line["message"], line["request_id"]) == ("request", reply.json()["request_id"])
        counted = next(
            point for point in collector.points if point.name == "parallax_requests" and point.facts["status"] == "200"
        )
        assert (counted.facts["route"], counted.data.as_double) == ("/v1/classify", 2)
        stages = {point.facts["stage"]: point.data for point in collector.points if point.name == "parallax_stage_seconds"}
        assert {stage: data.count for stage, data in stages.items()} == dict.fromkeys(("queue", "decode", "infer", "total"), 2)
        sent = repr([collector.spans, collector.points, server.records])
        assert KEY not in sent
        assert repr(plain(0))[2:40] not in sent


def test_every_worker_sends_its_traces_and_one_the_metrics_of_all(home: Path) -> None:
    with collecting() as collector:
        with serving(home, workers=2, otel__endpoint=collector.url, otel__metrics_s=1) as server:
            asked = 0

            def both_traced() -> bool:
                nonlocal asked
                asked += 1
                with server.client() as client:  # a connection of its own: the kernel chooses who gets it
                    client.post("/v1/classify", content=plain(0)).raise_for_status()
                return server.metric("parallax_otel_spans_total", outcome="sent") > 0 and len(senders()) == 2

            def senders() -> set[str]:
                return {span.who["service.instance.id"] for span in collector.spans}

            eventually(both_traced, "both have sent a span")

            def counted() -> float:
                return server.metric("parallax_stage_seconds_count", backend="tiny", version="1", stage="total")

            # A worker tells the others of its part now and then, not with every request.
            eventually(lambda: counted() == asked, "every worker has told of what it did")
            count = counted()
        points = [
            point for point in collector.points if point.name == "parallax_stage_seconds" and point.facts["stage"] == "total"
        ]
        assert len({point.who["service.instance.id"] for point in collector.points}) == 1
        assert points[-1].data.count == count, "of both workers"


def test_a_collector_that_does_not_answer_costs_no_request_and_no_stop(home: Path) -> None:
    with collecting() as collector:
        collector.silent.set()
        with serving(home, clean=False, otel__endpoint=collector.url) as server, server.client() as client:
            for _ in range(3):
                assert client.post("/v1/classify", content=plain(0)).status_code == 200
    assert not any("Traceback" in str(record) for record in server.records)
