"""Traces of how sessions are set up, by OpenTelemetry: who waited for what, from the platform's
call to the first frame. The only importer of opentelemetry; imported only where an endpoint is set.

    create session     POST /v1/sessions
    offer/answer       POST .../rtc; by the request's traceparent, else under "create session"
      ICE connect      from the answer on
      DTLS
      first frame      until it is on its way back

A camera's POST by WHIP and a viewer's by WHEP begin the same ("WHIP offer/answer" and "WHEP
offer/answer"). Which session WHIP is about says the bearer, when the span has begun: it is linked
with that session's "create session" instead of being under it.

A span has a session's short id and no more of it, no address, no SDP and no credential. Spans go to
the SDK's queue, which is bounded and drops; its own thread sends them, and nothing here waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__
from service.logs import SHORT_ID
from service.rtc.peer import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, SpanContext, Tracer

SESSION: Final = "backcloth.session"
CAUSE: Final = "backcloth.cause"
STATUS: Final = "http.response.status_code"
FAILING_STATUS: Final = 500
"""From here on it is the server's fault, and the span of a server failed."""
NAMES: Final = {Step.ICE: "ICE connect", Step.DTLS: "DTLS", Step.FRAME: "first frame"}
"""The span that ends with each step; it begins where the one before it ended."""
FAILURES: Final = frozenset({"connect_timeout", "failed", "silent", "fault"})
"""Causes of a peer's end that are nobody's wish."""
MOST_SESSIONS: Final = 10_000
"""Whose creation is remembered, for offers that bring no traceparent."""
SIGNAL_PATH: Final = "v1/traces"


def to_collector(endpoint: str | None) -> Traces:
    """Traces for the OTLP/HTTP collector at this base URL; None: where OTEL_EXPORTER_OTLP_ENDPOINT
    and its kin say."""
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/{SIGNAL_PATH}"
    return Traces(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))


class Traces:
    """The spans of this process."""

    def __init__(self, processor: SpanProcessor) -> None:
        ours = Resource.create({"service.name": "backcloth", "service.version": __version__})
        # What the operator says by OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES goes before it.
        resource = ours.merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("service", __version__)
        # Of a caller's headers traceparent alone: tracestate and baggage hold whatever it likes.
        self._propagator = TraceContextTextMapPropagator()
        self._created: OrderedDict[str, SpanContext] = OrderedDict()

    @contextmanager
    def request(
        self, name: str, *, traceparent: str | None, session_id: str | None
    ) -> Iterator[Request]:
        """The span of a request, and what is begun within it. Its parent is the caller's span, else
        that in which the session was created."""
        parent = self._parent(traceparent, session_id)
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=trace.SpanKind.SERVER,
            # The texts of exceptions may quote what a caller sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if session_id is not None:
                span.set_attribute(SESSION, session_id[:SHORT_ID])
            yield Request(span)

    def _parent(self, traceparent: str | None, session_id: str | None) -> Context | None:
        if traceparent is not None:
            given = self._propagator.extract({"traceparent": traceparent})
            if trace.get_current_span(given).get_span_context().is_valid:
                return given
        created = self._created.get(session_id or "")
        return None if created is None else trace.set_span_in_context(_remote(created))

    def opened(self, session_id: str) -> None:
        """The request at hand opened this session."""
        span = trace.get_current_span()
        span.set_attribute(SESSION, session_id[:SHORT_ID])
        self._created[session_id] = span.get_span_context()
        if len(self._created) > MOST_SESSIONS:
            self._created.popitem(last=False)

    def answered(self, session_id: str) -> SetUp:
        """An offer of this session was answered: its peer's, or viewer's, set-up begins."""
        span = trace.get_current_span()
        if span.is_recording():  # not what is begun later, without a request
            span.set_attribute(SESSION, session_id[:SHORT_ID])
            created = self._created.get(session_id)
            if created is not None and created.trace_id != span.get_span_context().trace_id:
                span.add_link(created)
        return SetUp(self._tracer, trace.set_span_in_context(span), session_id)

    def close(self, timeout_s: float) -> None:
        """Sends what waits, for so long at most. Blocks: not for the event loop."""
        # Its own waits are longer: a collector that is away must not hold up a server that stops.
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(timeout_s)


class Request:
    """The span of one request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        self._span.set_attribute(STATUS, status)
        if status >= FAILING_STATUS:
            self._span.set_status(trace.StatusCode.ERROR)


class SetUp:
    """One peer from its answer to its first frame: a span at a time."""

    def __init__(self, tracer: Tracer, context: Context, session_id: str) -> None:
        self._tracer, self._context = tracer, context
        self._session = session_id[:SHORT_ID]
        self._ahead = list(NAMES)
        self._span: Span | None = None
        self._begin_next()

    def reached(self, step: Step) -> None:
        """A step that is reached ends the span of each one up to it."""
        while step in self._ahead:
            self._ahead.pop(0)
            self._end()
            self._begin_next()

    def ended(self, cause: str) -> None:
        """The peer is gone; what had not been reached by then never will be."""
        if self._span is not None:
            self._span.set_attribute(CAUSE, cause)
            if cause in FAILURES:
                self._span.set_status(trace.StatusCode.ERROR, cause)
        self._ahead.clear()
        self._end()

    def _begin_next(self) -> None:
        if self._ahead:
            self._span = self._tracer.start_span(
                NAMES[self._ahead[0]], self._context, attributes={SESSION: self._session}
            )

    def _end(self) -> None:
        if self._span is not None:
            self._span.end()
            self._span = None


def _remote(context: SpanContext) -> Span:
    return trace.NonRecordingSpan(context)
