"""Everything that a load run gave, as values that are written to JSON and read back unchanged.

load.py fills it in, report.py draws it, and other programs read the JSON. Times on the run's clock
(`_s` fields named `at`, `arrived`, `first_back`, `ended`) are seconds since the first session was
asked for. Memory is in bytes, CPU in cores (1.0 is one core for the whole of the span), latencies
in milliseconds. None always means that it was not or could not be measured, never 0.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping  # noqa: TC003 (from_json reads the annotations)
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from loadtest.figures import Percentiles  # noqa: TC001 (from_json reads the annotations)

FORMAT = 1
"""Of the JSON; goes up when a reader of the one before would misread it."""


class Outcome(StrEnum):
    """What became of a session."""

    LIVE = "live"
    "Frames came back until the client left."
    REFUSED = "refused"
    "The server said that it has no room (HTTP 503)."
    FAILED = "failed"
    "It never got as far as a frame back, for another reason than a refusal."
    CUT_OFF = "cut off"
    "It was live, and the server or the connection ended it, or nothing came back any more."


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran: server and clients share it, unless the server is somebody else's."""

    cpu: str
    cores: int
    "That this process may use."
    kernel: str
    python: str


@dataclass(frozen=True, slots=True)
class Slo:
    """What a session has to be given for the load to count as carried."""

    least_fps_share: float = 0.95
    "Of the frames sent, of each session."
    p95_ms: float = 66.0
    "Most latency at the 95th percentile, of each session."
    freezes: int = 0
    "At most, of each session."


@dataclass(frozen=True, slots=True)
class Setup:
    """What was measured, with what, and when."""

    command_line: str
    "One that runs this again."
    target: str
    "The adapter's name."
    server: str
    "The command that started it, or the address where it ran already."
    machine: Machine
    server_cores: str | None
    "In taskset's notation; None: not pinned."
    server_quota: float | None
    "In cores, at the start; None: no quota was set."
    client_processes: int
    client_cores: str | None
    clip: str
    "A file's name, or what the default clip shows."
    codec: str
    width: int
    height: int
    fps: int
    effect: Mapping[str, Any]
    profile: str
    'In words, such as "poisson 0.2/s, 60 s each".'
    seed: int | None
    "Of the Poisson profile."
    slo: Slo
    started_at: str
    "ISO 8601, UTC."
    planned_seconds: float | None
    "None: until all sessions have come and gone."
    clients: str = "aiortc"
    "What kind of peer the sessions were."


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the run."""

    at_s: int
    "Where it begins."
    open: int
    "Sessions with a connection, at its end."
    admitted: int
    "Since the start, as are the next three."
    refused: int
    failed: int
    cut_off: int
    sent_fps: float
    "All sessions together; warm-ups included, as in back_fps."
    back_fps: float
    least_fps: float | None
    "Of the session to which fewest came back, of those that were measured for all of the second."
    latency_ms: Percentiles | None
    "Of the frames that came back in it, warm-ups left out."
    freezes: int
    "That ended in this second."
    server_cores: float | None
    "CPU of the server's whole process tree."
    server_rss_bytes: int | None
    "Resident memory of the tree, pages that processes share counted in each."
    server_threads: int | None
    server_files: int | None
    loop_lag_p50_ms: float | None
    "Of the server's event loop, from its /metrics, as the upper edge of a histogram's bucket."
    loop_lag_p99_ms: float | None
    capacity_ratio: float | None
    "The server's own view, 0 to 1."
    server_sessions: int | None
    "The same."
    throttled_s: float | None
    "Time in this second for which a CPU quota held the server back, all threads together."
    quality: Mapping[str, int]
    "Sessions at each quality level; empty where the server has none."
    dropped: Mapping[str, int]
    "Frames that the server dropped in this second, by its reason."
    raw_frames: int | None
    "Frames that ever left unprocessed while an effect was on, as the server counts them."
    client_cores: float
    "CPU of all client processes."
    client_lag_ms: float
    "The longest time by which a timer of a client's event loop was late."


@dataclass(frozen=True, slots=True)
class Session:
    """One session, from the request to its end. Frames, latency, freezes and bytes are those of the
    measured span: from the end of its warm-up to the moment when the client decided to leave."""

    number: int
    arrived_s: float
    first_back_s: float | None
    ended_s: float
    measured_s: float
    "0 where it ended within its warm-up."
    outcome: Outcome
    admitted: bool
    "Whether the server opened it."
    why: str
    "The server's or the connection's words, where it is not live."
    status: int | None
    "HTTP status, where the server refused or failed it."
    retry_after_s: float | None
    sent: int
    back: int
    lost: int
    "Never came back, though a later one did."
    fps: float | None
    "That came back."
    latency_ms: Percentiles | None
    freezes: int
    longest_gap_ms: float | None
    "Between two frames that came back."
    sent_bytes: int
    back_bytes: int
    "RTP packets and RTP payload."
    pairing: str
    "`picture`: frames were matched by numbers read from them; `assumed`: first to first."
    verified: int
    "Times that the match was found to hold by numbers read again later."
    mispaired: int
    "Times that it was found to be wrong, and was set right."
    peer: Mapping[str, Any] | None = None
    "What the peer itself counted, by the identifiers of W3C's WebRTC statistics; None: nothing."


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the run did on purpose while it went on."""

    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class Level:
    """What the server holds at a time of rest; None where it is not known."""

    rss_bytes: int | None
    threads: int | None
    files: int | None
    sessions: int | None


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that had to hold."""

    name: str
    limit: str
    value: str
    "Both as text with a unit."
    held: bool | None
    "None: there was not enough to judge it by."


@dataclass(frozen=True, slots=True)
class Totals:
    """The run in one line. Frames and latencies are those of all measured spans together."""

    seconds: int
    "That CPU was counted in."
    asked: int
    admitted: int
    refused: int
    failed: int
    cut_off: int
    most_open: int
    session_seconds: float
    "Sum of the measured spans."
    sent: int
    back: int
    lost: int
    latency_ms: Percentiles | None
    freezes: int
    worst_fps_share: float | None
    "Frames back of frames sent, of the session that did worst."
    server_cpu_seconds: float | None
    "Of the process tree, in `seconds`: all of a load; of a trial those in which it is measured."
    frames_counted: int
    "That came back in the same seconds, warm-ups included."
    server_cpu_ms_per_frame: float | None
    "The one over the other."
    server_cores_per_session: float | None
    "That over the time that sessions were open in them."
    sent_kbps: float | None
    "Mean of a session, RTP payload; as back_kbps."
    back_kbps: float | None
    dropped: Mapping[str, int]
    raw_frames: int | None
    client_cpu_seconds: float
    "Of all client processes, in the same seconds."
    client_cores_per_session: float | None
    verified: int
    mispaired: int
    assumed: int
    "Sessions whose frames were matched first to first."


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A whole run of `loadtest load`, or one trial of `loadtest capacity`."""

    setup: Setup
    seconds: tuple[Second, ...]
    sessions: tuple[Session, ...]
    events: tuple[Event, ...]
    before: Level
    "Before the first session; the server was up and idle."
    after: Level
    "When all sessions were closed and it had had time to settle."
    totals: Totals
    slo: tuple[Criterion, ...]
    soak: tuple[Criterion, ...]
    "What must not creep; empty in a run that is too short to tell."
    warnings: tuple[str, ...]
    "Why a reader should doubt a figure, such as a client that was the limit."
    interrupted: bool = False
    "By ^C: figures are of the time until then."
    latency_bins: tuple[tuple[float, int], ...] = ()
    "Lower edge in milliseconds and frames, rising, of 1 ms each; empty ones are left out."
    format: int = FORMAT

    @property
    def held(self) -> bool:
        """Whether the SLO was."""
        return all(one.held for one in self.slo)


@dataclass(frozen=True, slots=True)
class Trial:
    """One load that was tried on the way to the largest."""

    sessions: int
    held: bool
    broke: tuple[str, ...]
    "What did not hold, in words."
    totals: Totals


@dataclass(frozen=True, slots=True)
class CapacityResult:
    """What `loadtest capacity` found."""

    setup: Setup
    largest: int
    "Sessions that held the SLO; 0: not even one did."
    bounded: bool
    "Whether a larger number was tried and failed; else the search ended at its limit."
    trials: tuple[Trial, ...]
    at_largest: LoadResult | None
    beyond: LoadResult | None
    "The run of the smallest number that failed."
    format: int = FORMAT


T = TypeVar("T")


def to_json(result: object) -> dict[str, Any]:
    """A dataclass of this module as what `json.dump` takes."""
    return dataclasses.asdict(cast("Any", result))


def from_json(kind: type[T], value: Mapping[str, Any]) -> T:
    """What `to_json` gave. Raises ValueError where it is of another format or not complete."""
    found = value.get("format", FORMAT)
    if found != FORMAT:
        raise ValueError(f"the result is of format {found}, this reads {FORMAT}")
    try:
        return cast("T", _read(kind, value))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not a result: {exc}") from exc


def _read(kind: Any, value: Any) -> Any:  # noqa: ANN401 (any annotation, any JSON)
    """A value of an annotated type from plain JSON."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = next(one for one in get_args(kind) if one is not type(None))
        return None if value is None else _read(inner, value)
    if origin is tuple:
        return tuple(_read(get_args(kind)[0], one) for one in value)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return cast("Any", kind)(
            **{
                one.name: _read(hints[one.name], value[one.name])
                for one in dataclasses.fields(kind)
                if one.name in value or one.default is dataclasses.MISSING
            }
        )
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(value)
    return value
