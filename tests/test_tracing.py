"""Traces: the spans of a session's set-up, one after the other, without a secret; and from a real
session, through a real collector."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import av
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from service import tracing
from service.parts import make_traces
from service.rtc.peer import Step
from service.tracing import Traces, to_collector
from tests.collector import Collector, collecting
from tests.peers import Camera, Client
from tests.running import ROOT, Service, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    from opentelemetry.sdk.trace import ReadableSpan

ID = "abcdefghijklmnopqrstuv"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
NAMES = ["create session", "offer/answer", "ICE connect", "DTLS", "first frame"]
KEY = "a-key-of-the-platform"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(kept: InMemorySpanExporter) -> Traces:
    return Traces(SimpleSpanProcessor(kept))


def spans(kept: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in kept.get_finished_spans()}


def opened(traces: Traces, traceparent: str | None = None) -> None:
    with traces.request("create session", traceparent=traceparent, session_id=None) as request:
        traces.opened(ID)
        request.answered(201)


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_one_span_after_the_other(traces: Traces, kept: InMemorySpanExporter) -> None:
    opened(traces, TRACEPARENT)
    with traces.request("offer/answer", traceparent=None, session_id=ID):
        set_up = traces.answered(ID)
    for step in Step:
        set_up.reached(step)
    set_up.ended("hung_up")
    found = spans(kept)
    assert list(found) == NAMES
    created, offered = found["create session"], found["offer/answer"]
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    assert parent_of(created) == int(CALLER, 16)
    assert parent_of(offered) == created.context.span_id
    steps = [found[name] for name in NAMES[2:]]
    assert {parent_of(span) for span in steps} == {offered.context.span_id}
    for before, after in itertools.pairwise(steps):
        assert before.end_time is not None
        assert after.start_time is not None
        assert before.end_time <= after.start_time
    assert {dict(span.attributes or {})["backcloth.session"] for span in found.values()} == {ID[:6]}
    assert all(span.status.status_code is StatusCode.UNSET for span in found.values())


def test_an_offer_that_the_bearer_tells_the_session_of(
    traces: Traces, kept: InMemorySpanExporter
) -> None:
    opened(traces, TRACEPARENT)
    with traces.request("WHIP offer/answer", traceparent=None, session_id=None):
        set_up = traces.answered(ID)
    set_up.reached(Step.FRAME)
    found = spans(kept)
    offered = found["WHIP offer/answer"]
    assert parent_of(offered) is None
    assert dict(offered.attributes or {})["backcloth.session"] == ID[:6]
    (link,) = offered.links
    assert link.context.span_id == found["create session"].context.span_id
    assert {parent_of(found[name]) for name in NAMES[2:]} == {offered.context.span_id}


def test_what_is_set_up_later_is_of_the_request_that_began_it(
    traces: Traces, kept: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with traces.request("create session", traceparent=None, session_id=None):
        traces.opened(ID)
        later = contextvars.copy_context()
    later.run(traces.answered, ID).reached(Step.FRAME)
    found = spans(kept)
    assert parent_of(found["DTLS"]) == found["create session"].context.span_id
    assert not caplog.records, "nothing is set on a span that has ended"


def test_an_offer_follows_its_own_caller_first(traces: Traces, kept: InMemorySpanExporter) -> None:
    opened(traces)
    with traces.request("offer/answer", traceparent=TRACEPARENT, session_id=ID):
        pass
    found = spans(kept)
    assert parent_of(found["create session"]) is None
    assert parent_of(found["offer/answer"]) == int(CALLER, 16)


@pytest.mark.parametrize("wrong", ["", "00-0-0-00", "x" * 5000, f"00-{'0' * 32}-{CALLER}-01"])
def test_what_is_no_traceparent_is_left_alone(
    traces: Traces, kept: InMemorySpanExporter, wrong: str
) -> None:
    opened(traces, wrong)
    assert parent_of(spans(kept)["create session"]) is None


def test_a_caller_that_does_not_sample_is_obeyed(
    traces: Traces, kept: InMemorySpanExporter
) -> None:
    opened(traces, f"00-{TRACE}-{CALLER}-00")
    assert not kept.get_finished_spans()


def test_a_peer_that_never_connects(traces: Traces, kept: InMemorySpanExporter) -> None:
    set_up = traces.answered(ID)
    set_up.reached(Step.ICE)
    set_up.ended("connect_timeout")
    set_up.reached(Step.FRAME)
    set_up.ended("deleted")
    found = spans(kept)
    assert list(found) == ["ICE connect", "DTLS"]
    assert found["DTLS"].status.status_code is StatusCode.ERROR
    assert dict(found["DTLS"].attributes or {})["backcloth.cause"] == "connect_timeout"


def test_a_peer_that_is_hung_up_early_is_no_failure(
    traces: Traces, kept: InMemorySpanExporter
) -> None:
    traces.answered(ID).ended("hung_up")
    (span,) = kept.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {})["backcloth.cause"] == "hung_up"


def test_a_step_that_is_skipped_has_its_span(traces: Traces, kept: InMemorySpanExporter) -> None:
    traces.answered(ID).reached(Step.DTLS)
    assert list(spans(kept)) == ["ICE connect", "DTLS"]


def test_a_failure_of_the_service_is_one_without_its_words(
    traces: Traces, kept: InMemorySpanExporter
) -> None:
    with (
        pytest.raises(ValueError, match="a=candidate"),
        traces.request("offer/answer", traceparent=None, session_id=ID),
    ):
        raise ValueError("a=candidate: a secret")
    with traces.request("offer/answer", traceparent=None, session_id=ID) as request:
        request.answered(500)
    silent, failed = kept.get_finished_spans()
    assert not silent.events
    assert "secret" not in f"{silent.to_json()}"
    assert failed.status.status_code is StatusCode.ERROR


def test_sessions_that_are_remembered_are_bounded(
    traces: Traces, monkeypatch: pytest.MonkeyPatch, kept: InMemorySpanExporter
) -> None:
    monkeypatch.setattr(tracing, "MOST_SESSIONS", 2)
    for session_id in ("first", "second", "third"):
        with traces.request("create session", traceparent=None, session_id=None):
            traces.opened(session_id)
    kept.clear()
    for session_id in ("first", "third"):
        with traces.request("offer/answer", traceparent=None, session_id=session_id):
            pass
    forgotten, known = kept.get_finished_spans()
    assert parent_of(forgotten) is None
    assert parent_of(known) is not None


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    """Nothing listens there: the spans are dropped, and closing ends in time."""
    traces = to_collector("http://127.0.0.1:9")
    opened(traces)
    traces.close(0.2)


def test_only_an_endpoint_asks_for_traces() -> None:
    assert make_traces(None, {}) is None
    assert make_traces(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}) is None
    made = make_traces(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert made is not None
    made.close(1)


def test_without_an_endpoint_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, service.server, service.__main__\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "[]\n", said.stderr


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def service(collector: Collector) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=one")
        with running(OTEL_ENDPOINT=f"{collector.url}/", API_KEYS=KEY) as found:
            yield found


@pytest.mark.peer
async def test_whip_and_whep_through_a_real_collector() -> None:
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        with running(OTEL_ENDPOINT=collector.url, API_KEYS=KEY) as service:
            session = await _watched_by_whep(service)
            assert await asyncio.to_thread(service.stop) == 0
        found = collector.spans()
    by_id = {span.span_id: span for span in found}
    parents = Counter((span.name, by_id[span.parent_span_id].name) for span in found
                      if span.parent_span_id in by_id)  # fmt: skip
    steps = {
        (step, offer) for step in NAMES[2:] for offer in ("WHIP offer/answer", "WHEP offer/answer")
    }
    assert parents == Counter({*steps, ("WHEP offer/answer", "create session")})
    named = {span.name: span for span in found}
    (link,) = named["WHIP offer/answer"].links
    assert link.span_id == named["create session"].span_id
    assert len(found) == 9
    for span in found:
        said = {one.key: one.value for one in span.attributes}
        assert said["backcloth.session"].string_value == session["id"][:6]
        assert "backcloth.cause" not in said
    secrets = (session["id"], session["token"], session["viewer_token"], KEY, "127.0.0.1")
    for secret in secrets:
        assert not any(secret.encode() in body for body in collector.bodies), secret


async def _watched_by_whep(service: Service) -> dict[str, Any]:
    """A session that one sends to by WHIP and another watches by WHEP."""
    camera, viewer = Client(Camera(lambda _number: _grey())), Client()
    camera.connection.getTransceivers()[0].direction = "sendonly"
    viewer.connection.addTransceiver("video", direction="recvonly")
    headers = {"Authorization": f"Bearer {KEY}"}
    try:
        async with aiohttp.ClientSession(service.url, headers=headers) as http:
            async with http.post("/v1/sessions", json={}) as answer:
                session: dict[str, Any] = await answer.json()
            for client, path, token in (
                (viewer, session["whep_url"], session["viewer_token"]),
                (camera, "/v1/whip", session["token"]),
            ):
                bearer = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
                async with http.post(path, data=await client.offer(), headers=bearer) as answer:
                    assert answer.status == 201
                    await client.accept(await answer.text())
            await viewer.frames(3)
            async with http.delete(f"/v1/sessions/{session['id']}") as answer:
                assert answer.status == 204
    finally:
        await camera.close()
        await viewer.close()
    return session


@pytest.mark.peer
async def test_a_real_session_through_a_real_collector(
    service: Service, collector: Collector
) -> None:
    client = Client(Camera(lambda _number: _grey()))
    headers = {"Authorization": f"Bearer {KEY}", "traceparent": TRACEPARENT}
    try:
        async with aiohttp.ClientSession(service.url) as http:
            async with http.post("/v1/sessions", json={}, headers=headers) as answer:
                session = await answer.json()
            offer = await client.offer()
            token = {"Authorization": f"Bearer {session['token']}"}
            async with http.post(
                session["rtc_url"], data=offer,
                headers={**token, "Content-Type": "application/sdp"},
            ) as answer:  # fmt: skip
                assert answer.status == 201
                sdp = await answer.text()
            await client.accept(sdp)
            await client.frames(1)
            async with http.delete(f"/v1/sessions/{session['id']}", headers=token):
                pass
    finally:
        await client.close()
    assert not collector.bodies  # a batch in a minute; and what waits when it stops
    assert await asyncio.to_thread(service.stop) == 0
    found = collector.spans()
    assert sorted(span.name for span in found) == sorted(NAMES)
    _is_one_trace({span.name: span for span in found}, session["id"])
    assert collector.paths == {"/v1/traces"}
    assert collector.types == {"application/x-protobuf"}
    about = {one.key: one.value.string_value for one in collector.resource().attributes}
    assert about["service.name"] == "backcloth"
    assert about["k8s.pod.name"] == "one"
    # What was sent, byte by byte, has nothing of what must not leave.
    ufrag = offer.partition("a=ice-ufrag:")[2].split()[0]
    secrets = (session["id"], session["token"], KEY, "a=candidate", "127.0.0.1", ufrag)
    for secret in secrets:
        assert not any(secret.encode() in body for body in collector.bodies), secret


def _is_one_trace(found: dict[str, Span], session_id: str) -> None:
    assert {span.trace_id.hex() for span in found.values()} == {TRACE}
    assert found["create session"].parent_span_id.hex() == CALLER
    assert found["offer/answer"].parent_span_id == found["create session"].span_id
    order = [found[name] for name in NAMES[2:]]
    assert {span.parent_span_id for span in order} == {found["offer/answer"].span_id}
    times = [
        time for span in order for time in (span.start_time_unix_nano, span.end_time_unix_nano)
    ]
    assert times == sorted(times)
    for span in found.values():
        said = {one.key: one.value.string_value for one in span.attributes}
        assert said["backcloth.session"] == session_id[:6]
        assert not span.events


def _grey() -> av.VideoFrame:
    frame = av.VideoFrame(320, 180, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    return frame
