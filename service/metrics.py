"""Every Prometheus name, in one place: names and labels are API (docs/operations.md lists them).

The only importer of prometheus_client. rtc and session see the counting methods through Protocols
of their own; ``service.web.probes`` serves ``exposition``. The counting methods are called from
worker threads, several times for each frame: they look up a child that is already made and add.
"""

from __future__ import annotations

import platform
import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from service.cpu import CpuReader

STAGES: Final = ("decode", "faces", "person", "matte", "composite", "encode")
EFFECT_STAGES: Final = frozenset({"faces", "person", "matte", "composite"})
FRAME_EVENTS: Final = ("received", "processed", "sent")
PERSON_STATES: Final = ("away", "in_view")
QUALITY_DIRECTIONS: Final = ("down", "up")
WEBHOOK_OUTCOMES: Final = ("delivered", "retried", "unwanted", "given_up", "dropped", "unsent")
LIBRARY_OPERATIONS: Final = ("list", "read", "write", "delete")
LOGIN_ANSWERS: Final = ("refused", "delayed")
PASSED_ON_OUTCOMES: Final = ("opened", "no_room", "not_taken")
FLEET_REQUESTS: Final = (
    ("question", "answered"),
    ("question", "refused"),
    ("question", "unanswered"),
    ("forward", "answered"),
    ("forward", "refused"),
    ("forward", "unanswered"),
    ("forward", "broken"),
)
RTP_DIRECTIONS: Final = ("in", "out")
# Label values that are known beforehand are there from the start, at 0: a counter that only appears
# with its first event hides that event from rate() and increase().
SESSION_OUTCOMES: Final = (
    "deleted",
    "expired",
    "idle",
    "never_connected",
    "moved",
    "drained",
    "fault",
)
DECISIONS: Final = (
    ("admitted", ""),
    ("rejected", "cpu_budget"),
    ("rejected", "overloaded"),
    ("rejected", "session_cap"),
    ("rejected", "draining"),
    ("passed_on", "cpu_budget"),
    ("passed_on", "overloaded"),
    ("passed_on", "session_cap"),
    ("passed_on", "draining"),
)
VIEWER_REFUSALS: Final = ("cpu_budget", "overloaded", "draining", "viewer_cap")
SFU_WAYS: Final = ("pull", "push")
SFU_CAUSES: Final = (
    "address_refused",
    "unreachable",
    "unauthorized",
    "not_found",
    "counter_offer",
    "rejected",
    "redirected",
    "server_error",
    "bad_answer",
    "connect_timeout",
    "ice_failed",
    "left",
    "silent",
    "no_media_port",
    "fault",
)
SFU_LOSSES: Final = ("ice_failed", "left", "silent", "fault")
"""A connection that was live ends by one of these."""
SFU_STATES: Final = ("waiting", "connecting", "live", "retrying", "failed")
VIEWER_FRAME_EVENTS: Final = ("sent", "dropped")
DROP_REASONS: Final = (
    "newer_frame",
    "max_fps",
    "quality",
    "overload",
    "no_reference",
    "effect_changed",
    "decode_error",
    "frame_error",
    "encode_error",
    "fault",
)
EFFECT_WINDOW_S: Final = 10.0
SAMPLE_INTERVAL_S: Final = 1.0

# 33 ms is one frame at 30 a second; the edges above it show what is too slow, and how much.
STAGE_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.066, 0.133, 0.5)
LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
DURATION_BUCKETS_S: Final = (10, 60, 300, 900, 1800, 3600, 7200, 14400)
LAG_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
RTT_BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1)
# Milliseconds where all is well; 2 s is what a question waits at most.
FLEET_BUCKETS_S: Final = (0.005, 0.025, 0.1, 0.5, 2)
LOAD_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

# A "_created" series beside each counter says nothing that a scrape needs, and doubles the page.
disable_created_metrics()  # type: ignore[no-untyped-call]


class EffectCpu:
    """CPU of the effect's stages over a sliding window, beside that of the whole process."""

    def __init__(self, clock: Callable[[], float], process_time: Callable[[], float]) -> None:
        self._clock = clock
        self._process_time = process_time
        self._lock = Lock()
        self._effect_cpu_s = 0.0
        # (time, effect CPU, process CPU), one a second at most: enough to cover the window.
        self._samples: deque[tuple[float, float, float]] = deque(
            maxlen=int(EFFECT_WINDOW_S / SAMPLE_INTERVAL_S) + 3
        )
        self._sample(clock())

    def add(self, cpu_s: float) -> None:
        """One stage of one frame took this long of one core."""
        with self._lock:
            now = self._clock()
            if now - self._samples[-1][0] >= SAMPLE_INTERVAL_S:
                self._sample(now)
            self._effect_cpu_s += cpu_s

    def cores_and_ratio(self) -> tuple[float, float]:
        """The effect's CPU in cores, and over all other CPU of the process."""
        with self._lock:
            now, effect_s, process_s = self._clock(), self._effect_cpu_s, self._process_time()
            began, effect_before_s, process_before_s = self._at(now - EFFECT_WINDOW_S)
        span_s = now - began
        if span_s <= 0:
            return 0.0, 0.0
        used_s = max(0.0, effect_s - effect_before_s)
        other_s = process_s - process_before_s - used_s
        return used_s / span_s, used_s / other_s if other_s > 0 else 0.0

    def _sample(self, now: float) -> None:
        self._samples.append((now, self._effect_cpu_s, self._process_time()))

    def _at(self, then: float) -> tuple[float, float, float]:
        """The counters at that time, on the straight line between the samples around it."""
        after = self._samples[0]
        if after[0] >= then:
            return after
        now = (self._clock(), self._effect_cpu_s, self._process_time())
        for sample in (*self._samples, now):
            before, after = after, sample
            if after[0] >= then:
                break
        share = (then - before[0]) / (after[0] - before[0])
        effect_s, process_s = (
            start + (end - start) * share for start, end in zip(before[1:], after[1:], strict=True)
        )
        return then, effect_s, process_s


class Metrics:
    """The service's metrics, in a registry of their own."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        process_time: Callable[[], float] = time.process_time,
        process_metrics: bool = True,
    ) -> None:
        """``process_metrics``: also export the process_* and python_* defaults."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._effect_cpu = EffectCpu(clock, process_time)
        self._make_session_metrics()
        self._make_frame_metrics()
        self._make_network_metrics()
        if process_metrics:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)

    # ------------------------------------------------------------------ counting
    def frame(self, event: str, n: int = 1) -> None:
        """A frame was received, processed or sent."""
        self._frames[event].inc(n)

    def frame_dropped(self, reason: str, n: int = 1) -> None:
        """A frame was dropped by a queue's rule or a fault; reasons are a bounded set of words."""
        self._frames_dropped.labels(reason).inc(n)

    def raw_frame(self) -> None:
        """A frame left unprocessed while an effect was on: this must never happen."""
        self._raw_frames.inc()

    def stage(self, stage: str, wall_s: float, cpu_s: float) -> None:
        """One stage of one frame: wall time, and CPU time of the thread that ran it."""
        self._stage_wall[stage].observe(wall_s)
        self._stage_cpu[stage].inc(max(0.0, cpu_s))
        if stage in EFFECT_STAGES:
            self._effect_cpu.add(max(0.0, cpu_s))

    def latency(self, seconds: float) -> None:
        """From a frame's last packet in to its last packet out."""
        self._latency.observe(seconds)

    def person_changed(self, state: str) -> None:
        """The person in a track went away, or is in view again."""
        self._person_changes[state].inc()

    def quality_changed(self, direction: str) -> None:
        """A session went to a lower quality level ("down") or to a higher one ("up")."""
        self._quality_changes[direction].inc()

    def session_ended(self, outcome: str, duration_s: float) -> None:
        """A session has ended; outcomes are a bounded set of words."""
        self._sessions_ended.labels(outcome).inc()
        self._session_duration.observe(duration_s)

    def admission(self, decision: str, reason: str) -> None:
        """A session was admitted, rejected, or opened by another server in place of this one."""
        self._admission.labels(decision, reason).inc()

    def viewer_refused(self, reason: str) -> None:
        """Nobody more may watch a session; reasons are a bounded set of words."""
        self._viewers_refused[reason].inc()

    def viewer_frame(self, event: str) -> None:
        """A picture was sent to a viewer, or dropped on its way to one."""
        self._viewer_frames[event].inc()

    def sfu_attempt(self, way: str, outcome: str) -> None:
        """A connection to another server was tried: it is live, or a cause says why not."""
        self._sfu_attempts[way, outcome].inc()

    def sfu_lost(self, way: str, cause: str) -> None:
        """A connection to another server was live, and is so no more."""
        self._sfu_lost[way, cause].inc()

    def webhook(self, outcome: str, n: int = 1) -> None:
        """Webhooks were delivered, will be tried again, or were lost for one of the reasons."""
        self._webhooks[outcome].inc(n)

    def library_failed(self, operation: str) -> None:
        """The picture library's store failed, or did not answer in time."""
        self._library_failures[operation].inc()

    def fleet_request(self, kind: str, outcome: str) -> None:
        """What came of a question to another server of the fleet, or of a request sent on to it."""
        self._fleet_requests[kind, outcome].inc()

    def fleet_answered(self, seconds: float) -> None:
        """Another server began to answer a request that was sent on to it."""
        self._fleet_answer.observe(seconds)

    def fleet_passed_on(self, outcome: str) -> None:
        """What came of a new session that this server had no room for: another one opened it, none
        has room, or those that were tried did not take it."""
        self._fleet_passed_on[outcome].inc()

    def failed_login(self, answer: str) -> None:
        """A credential was wrong ("refused", a 401), or came from an address that has to wait and
        was not looked at ("delayed", a 429)."""
        self._failed_logins[answer].inc()

    def rtp(self, direction: str, packets: int) -> None:
        """RTP packets received or sent."""
        self._rtp_packets[direction].inc(packets)

    def rtp_lost(self, packets: int) -> None:
        """RTP packets that never came."""
        self._rtp_lost.inc(packets)

    def rtt(self, seconds: float) -> None:
        """A round trip that RTCP measured."""
        self._rtt.observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        """How late the event loop ran a timer."""
        self._loop_lag.observe(seconds)

    def model_loaded(self, model: str, seconds: float) -> None:
        """A model was loaded; models are the bounded set of the manifest."""
        self._model_load.labels(model).observe(seconds)

    # ------------------------------------------------------------------ reading
    def watch(
        self,
        *,
        sessions: Callable[[], Mapping[str, int]],
        capacity: Callable[[], float],
        draining: Callable[[], bool],
        reserved_cores: Callable[[], float],
        session_cost: Callable[[], Mapping[str, float]],
        cpu: CpuReader,
    ) -> None:
        """Adds the gauges that are read at each scrape. ``session_cost``: cores by size, of a
        bounded set of sizes."""
        self._registry.register(
            _Gauges(
                sessions, capacity, draining, reserved_cores, session_cost, cpu, self._effect_cpu
            )
        )

    def watch_quality(self, levels: Callable[[], Mapping[str, int]]) -> None:
        """Adds the gauge of how many sessions are on each quality level."""
        self._registry.register(_QualityLevels(levels))

    def watch_viewers(self, viewers: Callable[[], int]) -> None:
        """Adds the gauge of how many watch a session."""
        gauge = Gauge("backcloth_viewers", "Viewers of sessions.", registry=self._registry)
        gauge.set_function(viewers)

    def watch_sfu(self, lines: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Adds the gauge of how many pulls and pushes there are, by way and state."""
        self._registry.register(_SfuConnections(lines))

    def watch_fleet(self, members: Callable[[], int]) -> None:
        """Adds the gauge of how many other servers of its fleet this one knows."""
        gauge = Gauge(
            "backcloth_fleet_members",
            "Other servers of the fleet that are known.",
            registry=self._registry,
        )
        gauge.set_function(members)

    def watch_webhooks(self, waiting: Callable[[], int]) -> None:
        """Adds the gauge of how many webhooks have not arrived yet."""
        gauge = Gauge(
            "backcloth_webhooks_waiting", "Webhooks not delivered yet.", registry=self._registry
        )
        gauge.set_function(waiting)

    def watch_certificate(self, expires_at: float) -> None:
        """Adds the gauge of when the TLS certificate that is served expires, in Unix time."""
        self._registry.register(_Certificate(expires_at))

    def watch_jwks(self, age_s: Callable[[], float]) -> None:
        """Adds the gauge of how old the platform's keys are that a key set address gave."""
        gauge = Gauge(
            "backcloth_jwks_age_seconds",
            "Since the platform's key set was last fetched; since the start where it never was.",
            registry=self._registry,
        )
        gauge.set_function(age_s)

    def exposition(self) -> tuple[bytes, str]:
        """The body and the content type of an answer to a scrape."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    # ------------------------------------------------------------------ making
    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(f"backcloth_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: Iterable[str] = ()
    ) -> Histogram:
        return Histogram(
            f"backcloth_{name}", text, labels, registry=self._registry, buckets=buckets
        )

    def _make_session_metrics(self) -> None:
        self._sessions_ended = self._counter(
            "sessions_ended_total", "Sessions ended, by outcome.", ["outcome"]
        )
        for outcome in SESSION_OUTCOMES:
            self._sessions_ended.labels(outcome)
        self._session_duration = self._histogram(
            "session_duration_seconds", "Time from opening to end.", DURATION_BUCKETS_S
        )
        quality = self._counter(
            "quality_changes_total", "Sessions that changed their quality level.", ["direction"]
        )
        self._quality_changes = {name: quality.labels(name) for name in QUALITY_DIRECTIONS}
        webhooks = self._counter(
            "webhook_deliveries_total", "Webhooks, by what came of a try or of them.", ["outcome"]
        )
        self._webhooks = {name: webhooks.labels(name) for name in WEBHOOK_OUTCOMES}
        failures = self._counter(
            "library_failures_total", "Calls of the library's store that failed.", ["operation"]
        )
        self._library_failures = {name: failures.labels(name) for name in LIBRARY_OPERATIONS}
        logins = self._counter(
            "failed_logins_total", "Credentials that were wrong or had to wait.", ["answer"]
        )
        self._failed_logins = {name: logins.labels(name) for name in LOGIN_ANSWERS}
        self._admission = self._counter(
            "admission_total", "Decisions on new sessions.", ["decision", "reason"]
        )
        for decision, reason in DECISIONS:
            self._admission.labels(decision, reason)

        refused = self._counter(
            "viewers_refused_total", "Viewers that were not let in, by reason.", ["reason"]
        )
        self._viewers_refused = {name: refused.labels(name) for name in VIEWER_REFUSALS}
        attempts = self._counter(
            "sfu_attempts_total", "Connections tried to other servers.", ["way", "outcome"]
        )
        self._sfu_attempts = {
            (way, outcome): attempts.labels(way, outcome)
            for way in SFU_WAYS
            for outcome in ("live", *SFU_CAUSES)
        }
        lost = self._counter(
            "sfu_lost_total", "Connections to other servers that were live.", ["way", "cause"]
        )
        self._sfu_lost = {
            (way, cause): lost.labels(way, cause) for way in SFU_WAYS for cause in SFU_LOSSES
        }

    def _make_frame_metrics(self) -> None:
        frames = self._counter("frames_total", "Frames of all tracks.", ["event"])
        self._frames = {event: frames.labels(event) for event in FRAME_EVENTS}
        self._frames_dropped = self._counter(
            "frames_dropped_total", "Frames dropped, by reason.", ["reason"]
        )
        for reason in DROP_REASONS:
            self._frames_dropped.labels(reason)
        self._raw_frames = self._counter(
            "raw_frames_total", "Frames sent unprocessed while an effect was on: stays 0."
        )
        wall = self._histogram(
            "stage_seconds", "Wall time of a stage of a frame.", STAGE_BUCKETS_S, ["stage"]
        )
        self._stage_wall = {stage: wall.labels(stage) for stage in STAGES}
        cpu = self._counter("stage_cpu_seconds_total", "CPU time of a stage.", ["stage"])
        self._stage_cpu = {stage: cpu.labels(stage) for stage in STAGES}
        self._latency = self._histogram(
            "frame_latency_seconds",
            "A frame's last packet in to its last packet out.",
            LATENCY_BUCKETS_S,
        )
        viewed = self._counter("viewer_frames_total", "Pictures to viewers.", ["event"])
        self._viewer_frames = {event: viewed.labels(event) for event in VIEWER_FRAME_EVENTS}
        changes = self._counter(
            "person_changes_total", "Times a person went away or came back.", ["state"]
        )
        self._person_changes = {state: changes.labels(state) for state in PERSON_STATES}

    def _make_network_metrics(self) -> None:
        self._loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop ran a timer.", LAG_BUCKETS_S
        )
        packets = self._counter("rtp_packets_total", "RTP packets.", ["direction"])
        self._rtp_packets = {name: packets.labels(name) for name in RTP_DIRECTIONS}
        self._rtp_lost = self._counter("rtp_packets_lost_total", "RTP packets that never came.")
        self._rtt = self._histogram("rtt_seconds", "Round trips by RTCP.", RTT_BUCKETS_S)
        asked = self._counter(
            "fleet_requests_total",
            "Requests to other servers of the fleet, by what came of them.",
            ["kind", "outcome"],
        )
        self._fleet_requests = {one: asked.labels(*one) for one in FLEET_REQUESTS}
        passed_on = self._counter(
            "fleet_passed_on_total",
            "New sessions without room here, by what other servers of the fleet made of them.",
            ["outcome"],
        )
        self._fleet_passed_on = {name: passed_on.labels(name) for name in PASSED_ON_OUTCOMES}
        self._fleet_answer = self._histogram(
            "fleet_answer_seconds",
            "From sending a request on to the first of the other server's answer.",
            FLEET_BUCKETS_S,
        )
        self._model_load = self._histogram(
            "model_load_seconds", "Time to load a model.", LOAD_BUCKETS_S, ["model"]
        )


class _QualityLevels(Collector):
    """How many sessions are on each quality level, read at the scrape."""

    def __init__(self, levels: Callable[[], Mapping[str, int]]) -> None:
        self._levels = levels

    def collect(self) -> Iterable[Metric]:
        """The one family."""
        family = GaugeMetricFamily(
            "backcloth_quality_level",
            "Sessions with a peer that are on this level now.",
            labels=["level"],
        )
        for level, count in self._levels().items():
            family.add_metric([level], count)
        yield family


class _SfuConnections(Collector):
    """How many sessions are pulled from, and pushed to, other servers, read at the scrape."""

    def __init__(self, lines: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._lines = lines

    def collect(self) -> Iterable[Metric]:
        """The one family."""
        family = GaugeMetricFamily(
            "backcloth_sfu_connections",
            "Pulls from and pushes to other servers, by state.",
            labels=["way", "state"],
        )
        counts = self._lines()
        for way in SFU_WAYS:
            for state in SFU_STATES:
                family.add_metric([way, state], counts.get((way, state), 0))
        yield family


class _Certificate(Collector):
    """When the TLS certificate expires: it is read once, at the start, and so is this."""

    def __init__(self, expires_at: float) -> None:
        self._expires_at = expires_at

    def collect(self) -> Iterable[Metric]:
        """The one family."""
        yield _gauge(
            "tls_certificate_expiry_timestamp_seconds",
            "When the TLS certificate that is served expires, in Unix time.",
            self._expires_at,
        )


class _Gauges(Collector):
    """What is read at the scrape and kept nowhere."""

    def __init__(
        self,
        sessions: Callable[[], Mapping[str, int]],
        capacity: Callable[[], float],
        draining: Callable[[], bool],
        reserved_cores: Callable[[], float],
        session_cost: Callable[[], Mapping[str, float]],
        cpu: CpuReader,
        effect_cpu: EffectCpu,
    ) -> None:
        self._sessions = sessions
        self._capacity = capacity
        self._draining = draining
        self._reserved_cores = reserved_cores
        self._session_cost = session_cost
        self._cpu = cpu
        self._effect_cpu = effect_cpu

    def collect(self) -> Iterable[Metric]:
        """The families, read now."""
        build = GaugeMetricFamily(
            "backcloth_build_info", "Which build this is; always 1.", labels=["version", "python"]
        )
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        sessions = GaugeMetricFamily("backcloth_sessions", "Open sessions.", labels=["state"])
        for state, count in self._sessions().items():
            sessions.add_metric([state], count)
        yield sessions
        yield _gauge("capacity_ratio", "How full the service is, 0 to 1.", self._capacity())
        yield _gauge(
            "draining", "1 while the service drains, and counts as full.", float(self._draining())
        )
        yield _gauge(
            "reserved_cores", "What open sessions are expected to use.", self._reserved_cores()
        )
        cost = GaugeMetricFamily(
            "backcloth_session_cost_cores",
            "What a session of this size at 30 fps is expected to use.",
            labels=["size"],
        )
        for size, cores in self._session_cost().items():
            cost.add_metric([size], cores)
        yield cost
        yield _gauge("cpu_quota_cores", "The CPU budget.", self._cpu.quota_cores)
        yield _gauge("cpu_load_ratio", "CPU used over the CPU budget.", self._cpu.load_ratio())
        yield _gauge(
            "cpu_throttled_ratio",
            "Share of the quota's periods since the last scrape in which it ran out.",
            self._cpu.throttled_ratio(),
        )
        yield CounterMetricFamily(
            "backcloth_cpu_throttled_seconds",
            "Time for which the CPU quota held the service back.",
            value=self._cpu.throttled_s(),
        )
        cores, ratio = self._effect_cpu.cores_and_ratio()
        yield _gauge("effect_cpu_cores", "CPU of the stages faces to composite, in cores.", cores)
        yield _gauge("effect_cpu_ratio", "The same over all other CPU of the process.", ratio)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"backcloth_{name}", text, value=value)
