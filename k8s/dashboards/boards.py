"""The six boards, panel by panel, in the order in which an operator looks.

An overview that answers "is anything wrong, and is there room"; then one board for each question
that follows. Metric names and label values are those of service/metrics.py; docs/operations.md says
what each of them is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from panels import Column, Limits, Query, bars, cells, graph, number, pods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.builders import bargauge, heatmap, stat, table, timeseries

    Panel = bargauge.Panel | heatmap.Panel | stat.Panel | table.Panel | timeseries.Panel

EFFECT_STAGES: Final = "faces|person|matte|composite"
SPEED: Final = "[$__rate_interval]"
OVERVIEW_OF_A_POD: Final = (
    "/d/backcloth-overview?var-datasource=${datasource}&var-namespace=${namespace:queryparam}"
    "&var-pod=${__value.raw}&${__url_time_range}"
)
USED_CORES: Final = "sum(backcloth_cpu_load_ratio{$pods} * backcloth_cpu_quota_cores{$pods})"

# The rest of a pod's CPU is its effect's over its ratio; pods without an effect have none.
EFFECT_RATIO: Final = (
    "sum(backcloth_effect_cpu_cores{$pods}) / sum(backcloth_effect_cpu_cores{$pods} / "
    "(backcloth_effect_cpu_ratio{$pods} > 0)) or vector(0)"
)

# One that drains says that it is full, and is on its way out.
CAPACITY: Final = (
    "avg(backcloth_capacity_ratio{$pods} "
    "unless on (job, instance) (backcloth_draining{$pods} == 1))"
)

LOAD_LIMITS: Final = Limits(0.8, 0.95)
THROTTLED_LIMITS: Final = Limits(0.05, 0.15)
CAPACITY_LIMITS: Final = Limits(0.7, 0.9)
LATENCY_LIMITS: Final = Limits(0.05, 0.1)
LAG_LIMITS: Final = Limits(0.05, 0.1)
LOSS_LIMITS: Final = Limits(0.01, 0.05)
NEVER: Final = Limits(bad=1)
LEVEL_COLOURS: Final = {
    "full": "green",
    "half": "super-light-green",
    "third": "yellow",
    "smaller": "orange",
    "fewer": "dark-orange",
    "background": "red",
}
STATE_COLOURS: Final = {"created": "text", "connecting": "yellow", "live": "green"}


@dataclass(frozen=True, slots=True)
class Row:
    """A heading, and the panels below it."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `name` is its file and, after "backcloth-", its uid: links hold it."""

    name: str
    title: str
    about: str
    rows: Sequence[Row]


def rate(metric: str, **labels: str) -> str:
    """A counter's growth a second, series by series; values of a label are separated by "|"."""
    chosen = [f'{name}{"=~" if "|" in value else "="}"{value}"' for name, value in labels.items()]
    inside = ",".join(["$pods", *chosen])
    return f"rate(backcloth_{metric}{{{inside}}}{SPEED})"


def quantile(share: float, histogram: str, *, by: str = "") -> str:
    """A histogram's quantile over all chosen pods."""
    edges = f"le, {by}" if by else "le"
    buckets = rate(f"{histogram}_bucket")
    return f"histogram_quantile({share:g}, sum by ({edges}) ({buckets}))"


def under(seconds: str, histogram: str) -> str:
    """Share of a histogram's observations that are at most so long; an edge of its buckets."""
    low = rate(f"{histogram}_bucket", le=seconds)
    return f"sum({low}) / sum({rate(f'{histogram}_count')})"


def of_this_service(metric: str) -> str:
    """A process metric, which other services of the namespace export under the same name."""
    return f"{metric}{{$pods}} and on (job, instance) backcloth_build_info{{$pods}}"


def quantiles(histogram: str, *shares: float) -> list[Query]:
    """Curves of several quantiles."""
    return [Query(quantile(share, histogram), f"p{share * 100:g}") for share in shares]


def overview() -> Board:
    """Is anything wrong, and is there room?"""
    now = Row(
        "Now",
        [
            number(
                "Live sessions",
                "Sessions with a peer that is connected.",
                'sum(backcloth_sessions{$pods,state="live"})',
            ),
            number(
                "Capacity in use",
                "Mean of the pods that do not drain: what is reserved over what may be. What "
                "autoscaling follows.",
                CAPACITY,
                unit="percentunit",
                decimals=0,
                limits=CAPACITY_LIMITS,
            ),
            number(
                "CPU load of quota",
                "CPU used over the CPU budget, all pods together.",
                f"{USED_CORES} / sum(backcloth_cpu_quota_cores{{$pods}})",
                unit="percentunit",
                decimals=0,
                limits=LOAD_LIMITS,
            ),
            number(
                "Throttled, worst pod",
                "Share of the quota's periods in which it ran out.",
                "max(backcloth_cpu_throttled_ratio{$pods})",
                unit="percentunit",
                decimals=1,
                limits=THROTTLED_LIMITS,
            ),
            number(
                "Effect over the rest",
                "CPU of the stages faces to composite over all other CPU of the process: what the "
                "effect adds to passing the video on.",
                EFFECT_RATIO,
                unit="percentunit",
                decimals=0,
            ),
            number(
                "Raw frames, 24 h",
                "Frames sent unprocessed while an effect was on. Anything but 0 is a breach of "
                "privacy: see the runbook.",
                "sum(increase(backcloth_raw_frames_total{$pods}[24h]))",
                decimals=0,
                limits=NEVER,
            ),
        ],
    )
    load = Row(
        "Sessions and CPU",
        [
            graph(
                "Sessions",
                "Open sessions by state. Many that stay in connecting point at ICE: see WebRTC.",
                Query("sum by (state) (backcloth_sessions{$pods})", "{{state}}"),
                colours=STATE_COLOURS,
                stacked=True,
            ),
            graph(
                "CPU, in cores",
                "What is used of the budget, what open sessions have reserved, and what the effect "
                "takes of it. The dashed line is the budget.",
                Query(USED_CORES, "used"),
                Query("sum(backcloth_reserved_cores{$pods})", "reserved"),
                Query("sum(backcloth_effect_cpu_cores{$pods})", "effect"),
                Query("sum(backcloth_cpu_quota_cores{$pods})", "budget"),
                dashed="budget",
            ),
            graph(
                "CPU load and throttling",
                "Load over the budget, and share of the quota's periods in which it ran out: the "
                "worst pod. Throttling under a low load means that a quota is used up in bursts.",
                Query("max(backcloth_cpu_load_ratio{$pods})", "load"),
                Query("max(backcloth_cpu_throttled_ratio{$pods})", "throttled"),
                unit="percentunit",
                limits=LOAD_LIMITS,
                top=1,
            ),
            graph(
                "Effect over the rest, by pod",
                "CPU of the effect's stages over all other CPU of the process, by pod.",
                Query("backcloth_effect_cpu_ratio{$pods}", "{{pod}}"),
                unit="percentunit",
            ),
        ],
    )
    people = Row(
        "What people get",
        [
            graph(
                "Added latency",
                "A frame's last packet in to its last packet out.",
                *quantiles("frame_latency_seconds", 0.5, 0.95),
                unit="s",
                limits=LATENCY_LIMITS,
                width=8,
            ),
            graph(
                "Quality levels",
                "Sessions on each level. Anything but full for long: too little CPU.",
                Query("sum by (level) (backcloth_quality_level{$pods})", "{{level}}"),
                colours=LEVEL_COLOURS,
                stacked=True,
                width=8,
            ),
            graph(
                "Refused sessions",
                "By reason, a second. cpu_budget and overloaded: add pods.",
                Query(
                    f"sum by (reason) ({rate('admission_total', decision='rejected')})",
                    "{{reason}}",
                ),
                unit="reqps",
                stacked=True,
                width=8,
            ),
        ],
    )
    return Board(
        "overview",
        "Backcloth / Overview",
        "Is anything wrong, and is there room?",
        [now, load, people],
    )


def stages() -> Board:
    """Where does the CPU go?"""
    cpu = rate("stage_cpu_seconds_total")
    wall = rate("stage_seconds_sum")
    return Board(
        "stages",
        "Backcloth / Per-stage cost",
        "Where the CPU goes: each stage of a frame, from decoding to encoding.",
        [
            Row(
                "CPU",
                [
                    graph(
                        "CPU by stage, in cores",
                        "CPU time of the threads that ran the stage.",
                        Query(f"sum by (stage) ({cpu})", "{{stage}}"),
                        stacked=True,
                    ),
                    graph(
                        "CPU of a frame that is sent",
                        "CPU time of each stage over frames sent: what a frame costs. A stage that "
                        "does not run for every frame is spread over all of them.",
                        Query(
                            f"sum by (stage) ({cpu}) / on () group_left () "
                            f"sum({rate('frames_total', event='sent')})",
                            "{{stage}}",
                        ),
                        unit="s",
                        stacked=True,
                    ),
                    bars(
                        "Share of the stages' CPU",
                        "Over the last five minutes.",
                        Query(
                            "sort_desc(sum by (stage) (rate(backcloth_stage_cpu_seconds_total"
                            "{$pods}[5m])) / on () group_left () "
                            "sum(rate(backcloth_stage_cpu_seconds_total{$pods}[5m])))",
                            "{{stage}}",
                        ),
                        unit="percentunit",
                        width=8,
                    ),
                    graph(
                        "Effect, codecs and the rest",
                        "CPU of the whole process in cores: the effect's stages, decoding and "
                        "encoding, and what is neither (packets, encryption, HTTP).",
                        Query(
                            f"sum({rate('stage_cpu_seconds_total', stage=EFFECT_STAGES)})",
                            "effect",
                        ),
                        Query(
                            f"sum({rate('stage_cpu_seconds_total', stage='decode|encode')})",
                            "codecs",
                        ),
                        Query(
                            f"clamp_min(sum(rate(process_cpu_seconds_total{{$pods}}{SPEED}) "
                            "and on (job, instance) backcloth_build_info{$pods}) "
                            f"- sum({cpu}), 0)",
                            "the rest",
                        ),
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Expected cost of a session",
                        "Learned from the frames of live sessions, at 30 frames a second: what "
                        "admission reserves. The mean of the pods.",
                        Query("avg by (size) (backcloth_session_cost_cores{$pods})", "{{size}}"),
                        width=8,
                    ),
                ],
            ),
            Row(
                "Time",
                [
                    graph(
                        "Median time of a stage",
                        "Wall time, waiting for the CPU included.",
                        Query(quantile(0.5, "stage_seconds", by="stage"), "{{stage}}"),
                        unit="s",
                        width=8,
                    ),
                    graph(
                        "95th percentile of a stage",
                        "Wall time. Far above the median: frames wait for the CPU.",
                        Query(quantile(0.95, "stage_seconds", by="stage"), "{{stage}}"),
                        unit="s",
                        width=8,
                    ),
                    graph(
                        "Wall time over CPU time",
                        "1 where a stage never waits. Above it, threads wait for a core, for "
                        "Python's lock or for the quota's next period.",
                        Query(
                            f"sum by (stage) ({wall}) / sum by (stage) ({cpu})",
                            "{{stage}}",
                        ),
                        width=8,
                    ),
                ],
            ),
            Row(
                "Models",
                [
                    bars(
                        "Time to load a model",
                        "The mean of the pods' loads.",
                        Query(
                            "sum by (model) (backcloth_model_load_seconds_sum{$pods}) / "
                            "sum by (model) (backcloth_model_load_seconds_count{$pods})",
                            "{{model}}",
                        ),
                        unit="s",
                    ),
                    graph(
                        "Person model, of frames processed",
                        "How often the person model runs: less where nothing moves, and on the "
                        "quality levels half and third.",
                        Query(
                            f"sum({rate('stage_seconds_count', stage='person')}) / "
                            f"sum({rate('frames_total', event='processed')})",
                            "person",
                        ),
                        Query(
                            f"sum({rate('stage_seconds_count', stage='faces')}) / "
                            f"sum({rate('frames_total', event='processed')})",
                            "faces",
                        ),
                        unit="percentunit",
                        top=1,
                    ),
                ],
            ),
        ],
    )


def quality() -> Board:
    """What do people get?"""
    latency = "frame_latency_seconds"
    return Board(
        "quality",
        "Backcloth / Latency and quality",
        "What people get: delay, frame rate, drops and quality levels.",
        [
            Row(
                "Latency",
                [
                    number(
                        "Median latency",
                        "A frame's last packet in to its last packet out.",
                        quantile(0.5, latency),
                        unit="s",
                        decimals=1,
                        limits=LATENCY_LIMITS,
                        width=6,
                    ),
                    number(
                        "95th percentile",
                        "One frame in twenty takes longer.",
                        quantile(0.95, latency),
                        unit="s",
                        decimals=1,
                        limits=LATENCY_LIMITS,
                        width=6,
                    ),
                    number(
                        "Frames within 50 ms",
                        "Share of frames.",
                        under("0.05", latency),
                        unit="percentunit",
                        decimals=1,
                        limits=Limits(0.99, 0.95, low_is_bad=True),
                        width=6,
                    ),
                    number(
                        "Sessions below full quality",
                        "Share of sessions with a peer.",
                        'sum(backcloth_quality_level{$pods,level!="full"}) / '
                        "clamp_min(sum(backcloth_quality_level{$pods}), 1)",
                        unit="percentunit",
                        decimals=0,
                        limits=Limits(0.05, 0.25),
                        width=6,
                    ),
                    graph(
                        "Latency",
                        "Percentiles over all chosen pods.",
                        *quantiles(latency, 0.5, 0.9, 0.95, 0.99),
                        unit="s",
                        limits=LATENCY_LIMITS,
                    ),
                    cells(
                        "Latency, all frames",
                        "Frames a second in each range.",
                        f"sum by (le) ({rate(f'{latency}_bucket')})",
                        unit="s",
                    ),
                ],
            ),
            Row(
                "Frames",
                [
                    graph(
                        "Frames",
                        "Received, processed and sent, a second.",
                        Query(f"sum by (event) ({rate('frames_total')})", "{{event}}"),
                        unit="fps",
                        width=8,
                    ),
                    graph(
                        "Frames sent to a live session",
                        "The mean of live sessions, a second.",
                        Query(
                            f"sum({rate('frames_total', event='sent')}) / "
                            'clamp_min(sum(backcloth_sessions{$pods,state="live"}), 1)',
                            "fps",
                        ),
                        unit="fps",
                        top=30,
                        width=8,
                    ),
                    graph(
                        "Frames dropped",
                        "By reason. max_fps and quality are meant; overload and newer_frame say "
                        "that there is too little CPU, no_reference that packets were lost; "
                        "*_error and fault are mistakes.",
                        Query(
                            f"sum by (reason) ({rate('frames_dropped_total')}) > 0", "{{reason}}"
                        ),
                        unit="fps",
                        stacked=True,
                        width=8,
                    ),
                ],
            ),
            Row(
                "Quality",
                [
                    graph(
                        "Quality levels",
                        "Sessions on each level now.",
                        Query("sum by (level) (backcloth_quality_level{$pods})", "{{level}}"),
                        colours=LEVEL_COLOURS,
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Changes of level",
                        "Sessions that went down or up, a minute. Both, again and again: the load "
                        "sits on the edge of what the pod has.",
                        Query(
                            f"60 * sum by (direction) ({rate('quality_changes_total')})",
                            "{{direction}}",
                        ),
                        unit="cpm",
                        width=8,
                    ),
                    graph(
                        "People away and back",
                        "Times that nobody was in view any more, and that somebody was again, a "
                        "minute.",
                        Query(f"60 * sum by (state) ({rate('person_changes_total')})", "{{state}}"),
                        unit="cpm",
                        width=8,
                    ),
                ],
            ),
        ],
    )


def webrtc() -> Board:
    """Does the media get through?"""
    lost = rate("rtp_packets_lost_total")
    came = rate("rtp_packets_total", direction="in")
    return Board(
        "webrtc",
        "Backcloth / WebRTC health",
        "Whether the media gets through: connections, loss, round trips, the event loop.",
        [
            Row(
                "Now",
                [
                    number(
                        "Packets lost",
                        "Share of RTP packets that never came.",
                        f"sum({lost}) / (sum({came}) + sum({lost}))",
                        unit="percentunit",
                        decimals=2,
                        limits=LOSS_LIMITS,
                        width=6,
                    ),
                    number(
                        "Median round trip",
                        "As RTCP measures it.",
                        quantile(0.5, "rtt_seconds"),
                        unit="s",
                        limits=Limits(0.15, 0.3),
                        width=6,
                    ),
                    number(
                        "Connecting",
                        "Sessions whose peer has an answer and no connection yet.",
                        'sum(backcloth_sessions{$pods,state="connecting"})',
                        width=6,
                    ),
                    number(
                        "Event loop lag, p99",
                        "How late the event loop runs a timer.",
                        quantile(0.99, "event_loop_lag_seconds"),
                        unit="s",
                        limits=LAG_LIMITS,
                        width=6,
                    ),
                ],
            ),
            Row(
                "Network",
                [
                    graph(
                        "RTP packets",
                        "In and out, a second.",
                        Query(f"sum by (direction) ({rate('rtp_packets_total')})", "{{direction}}"),
                        unit="pps",
                    ),
                    graph(
                        "Packets lost, by pod",
                        "One pod alone: its node or its network. All of them: the way to the "
                        "clients.",
                        Query(
                            f"sum by (pod) ({lost}) / (sum by (pod) ({came}) + sum by (pod) "
                            f"({lost}))",
                            "{{pod}}",
                        ),
                        unit="percentunit",
                        limits=LOSS_LIMITS,
                        top=0.05,
                    ),
                    graph(
                        "Round trip",
                        "Percentiles of what RTCP measures.",
                        *quantiles("rtt_seconds", 0.5, 0.95),
                        unit="s",
                    ),
                    graph(
                        "Frames that could not be decoded",
                        "no_reference: packets were lost and a keyframe is awaited; decode_error: "
                        "the decoder refused what came.",
                        Query(
                            "sum by (reason) ("
                            f"{rate('frames_dropped_total', reason='no_reference|decode_error')})",
                            "{{reason}}",
                        ),
                        unit="fps",
                        stacked=True,
                    ),
                ],
            ),
            Row(
                "Connections",
                [
                    graph(
                        "Sessions by state",
                        "A crowd in connecting that does not become live: ICE fails. Look at the "
                        "UDP ports, the advertised address and TURN.",
                        Query("sum by (state) (backcloth_sessions{$pods})", "{{state}}"),
                        colours=STATE_COLOURS,
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Sessions ended",
                        "By outcome, a minute. never_connected: opened, and no peer came through.",
                        Query(
                            f"60 * sum by (outcome) ({rate('sessions_ended_total')})", "{{outcome}}"
                        ),
                        unit="cpm",
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Event loop lag",
                        "Above 100 ms packets are sent in bursts, and the quality levels count it "
                        "as a sign of too little CPU.",
                        *quantiles("event_loop_lag_seconds", 0.5, 0.99),
                        unit="s",
                        limits=LAG_LIMITS,
                        width=8,
                    ),
                ],
            ),
            Row(
                "Pulls and pushes",
                [
                    graph(
                        "Pulls and pushes",
                        "Sessions' connections to other servers, by state. waiting: a push whose "
                        "session has no video yet.",
                        Query(
                            "sum by (way, state) (backcloth_sfu_connections{$pods})",
                            "{{way}} {{state}}",
                        ),
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Tries",
                        "To connect, by what came of them, a minute. unauthorized, not_found and "
                        "rejected: the platform's address or token; address_refused: this "
                        "service's settings; the others: the other server, or the way there.",
                        Query(
                            f"60 * sum by (way, outcome) ({rate('sfu_attempts_total')})",
                            "{{way}} {{outcome}}",
                        ),
                        unit="cpm",
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Lost",
                        "Those that were live, a minute. left: the other server closed them; "
                        "silent and ice_failed: it is gone, or the network is.",
                        Query(
                            f"60 * sum by (way, cause) ({rate('sfu_lost_total')})",
                            "{{way}} {{cause}}",
                        ),
                        unit="cpm",
                        stacked=True,
                        width=8,
                    ),
                ],
            ),
        ],
    )


def fleet() -> Board:
    """Is one pod unlike the others?"""
    return Board(
        "fleet",
        "Backcloth / Fleet",
        "Pod by pod: which one is unlike the others.",
        [
            Row(
                "Pods",
                [
                    number("Pods", "That answer a scrape.", "count(backcloth_build_info{$pods})"),
                    number(
                        "Versions",
                        "More than one while a roll-out goes on.",
                        "count(count by (version) (backcloth_build_info{$pods}))",
                        limits=Limits(2),
                    ),
                    number(
                        "Starts in an hour",
                        "Processes that began again in pods that were there before.",
                        "sum(changes(process_start_time_seconds{$pods}[1h]) "
                        "and on (job, instance) backcloth_build_info{$pods})",
                        decimals=0,
                        limits=Limits(1, 3),
                    ),
                    number(
                        "CPU budget, in cores",
                        "Of all pods together.",
                        "sum(backcloth_cpu_quota_cores{$pods})",
                    ),
                    number(
                        "Fullest pod",
                        "Its capacity in use.",
                        "max(backcloth_capacity_ratio{$pods})",
                        unit="percentunit",
                        decimals=0,
                        limits=CAPACITY_LIMITS,
                    ),
                    number(
                        "Emptiest pod",
                        "Far from the fullest: sessions are not spread evenly.",
                        "min(backcloth_capacity_ratio{$pods})",
                        unit="percentunit",
                        decimals=0,
                    ),
                    pods(
                        "Pods now",
                        "One row a pod; its name leads to its overview.",
                        [
                            Column("Version", "backcloth_build_info{$pods}", label="version"),
                            Column("Live", 'backcloth_sessions{$pods,state="live"}'),
                            Column(
                                "Capacity",
                                "backcloth_capacity_ratio{$pods}",
                                "percentunit",
                                0,
                                CAPACITY_LIMITS,
                            ),
                            Column(
                                "CPU load",
                                "backcloth_cpu_load_ratio{$pods}",
                                "percentunit",
                                0,
                                LOAD_LIMITS,
                            ),
                            Column("Budget, cores", "backcloth_cpu_quota_cores{$pods}"),
                            Column(
                                "Throttled",
                                "backcloth_cpu_throttled_ratio{$pods}",
                                "percentunit",
                                1,
                                THROTTLED_LIMITS,
                            ),
                            Column(
                                "Latency p95",
                                quantile(0.95, "frame_latency_seconds", by="pod"),
                                "s",
                                1,
                                LATENCY_LIMITS,
                            ),
                            Column(
                                "Memory", of_this_service("process_resident_memory_bytes"), "bytes"
                            ),
                            Column(
                                "Up for",
                                f"time() - ({of_this_service('process_start_time_seconds')})",
                                "s",
                                0,
                            ),
                        ],
                        OVERVIEW_OF_A_POD,
                    ),
                ],
            ),
            Row(
                "Over time",
                [
                    graph(
                        "Live sessions",
                        "By pod.",
                        Query('backcloth_sessions{$pods,state="live"}', "{{pod}}"),
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Capacity in use",
                        "By pod.",
                        Query("backcloth_capacity_ratio{$pods}", "{{pod}}"),
                        unit="percentunit",
                        limits=CAPACITY_LIMITS,
                        top=1,
                        width=8,
                    ),
                    graph(
                        "CPU load of quota",
                        "By pod.",
                        Query("backcloth_cpu_load_ratio{$pods}", "{{pod}}"),
                        unit="percentunit",
                        limits=LOAD_LIMITS,
                        top=1,
                        width=8,
                    ),
                    graph(
                        "Throttled time",
                        "Seconds of each second for which the quota held the pod back.",
                        Query(rate("cpu_throttled_seconds_total"), "{{pod}}"),
                        unit="percentunit",
                        width=8,
                    ),
                    graph(
                        "Memory",
                        "Resident, by pod. Held against the limit of the container: one that only "
                        "grows is a leak.",
                        Query(of_this_service("process_resident_memory_bytes"), "{{pod}}"),
                        unit="bytes",
                        width=8,
                    ),
                    graph(
                        "Open files and sockets",
                        "By pod; each session holds a few UDP sockets.",
                        Query(of_this_service("process_open_fds"), "{{pod}}"),
                        width=8,
                    ),
                ],
            ),
            Row(
                "Between pods",
                [
                    graph(
                        "Other pods known",
                        "By pod. Not one less than there are pods, or unlike from pod to pod: "
                        "BACKCLOTH_FLEET, or the name server.",
                        Query("backcloth_fleet_members{$pods}", "{{pod}}"),
                        width=6,
                    ),
                    graph(
                        "Requests to other pods",
                        "A second: a question who has a session, or a caller's request that is "
                        "sent on to the pod that has it. Refused: secrets or clocks differ.",
                        Query(
                            f"sum by (kind, outcome) ({rate('fleet_requests_total')})",
                            "{{kind}}, {{outcome}}",
                        ),
                        unit="reqps",
                        width=6,
                    ),
                    graph(
                        "Time until another pod answers",
                        "A request that is sent on, until the answer begins. Half of them, and all "
                        "but one in twenty.",
                        *quantiles("fleet_answer_seconds", 0.5, 0.95),
                        unit="s",
                        width=6,
                    ),
                    graph(
                        "New sessions passed on",
                        "A second: those that a full pod had opened by another one, and those that "
                        "it refused since none had room, or none of those that it tried took them.",
                        Query(f"sum by (outcome) ({rate('fleet_passed_on_total')})", "{{outcome}}"),
                        unit="reqps",
                        stacked=True,
                        width=6,
                    ),
                ],
            ),
        ],
    )


def admission() -> Board:
    """Who was refused, what failed?"""
    refused = f"sum({rate('admission_total', decision='rejected')})"
    faults = "decode_error|frame_error|encode_error|fault"
    return Board(
        "admission",
        "Backcloth / Admission and errors",
        "Who was refused and why, what failed, what is about to expire.",
        [
            Row(
                "Now",
                [
                    number(
                        "Refused",
                        "Share of requests for a session that were refused.",
                        f"{refused} / clamp_min(sum("
                        f"{rate('admission_total', decision='admitted|rejected')}), 1e-9)",
                        unit="percentunit",
                        decimals=2,
                        limits=Limits(0.001, 0.01),
                    ),
                    number(
                        "Capacity in use",
                        "The mean of the pods that do not drain.",
                        CAPACITY,
                        unit="percentunit",
                        decimals=0,
                        limits=CAPACITY_LIMITS,
                    ),
                    number(
                        "Raw frames, 24 h",
                        "Anything but 0 is a breach of privacy: see the runbook.",
                        "sum(increase(backcloth_raw_frames_total{$pods}[24h]))",
                        decimals=0,
                        limits=NEVER,
                    ),
                    number(
                        "Frames lost to faults, 1 h",
                        f"Dropped for {faults.replace('|', ', ')}.",
                        "sum(increase(backcloth_frames_dropped_total"
                        f'{{$pods,reason=~"{faults}"}}[1h]))',
                        decimals=0,
                        limits=Limits(1, 100),
                    ),
                    number(
                        "TLS certificate",
                        "Time until the first certificate expires; no data where another ends TLS.",
                        "min(backcloth_tls_certificate_expiry_timestamp_seconds{$pods}) - time()",
                        unit="s",
                        limits=Limits(1_814_400, 259_200, low_is_bad=True),
                    ),
                    number(
                        "Alerts that fire",
                        "Of this service; 0 where its rules are loaded and nothing is wrong.",
                        'count(ALERTS{alertname=~"Backcloth.+",alertstate="firing"}) or vector(0)',
                        limits=Limits(1, 3),
                    ),
                ],
            ),
            Row(
                "Admission",
                [
                    graph(
                        "Decisions",
                        "Requests for a session, a second, admitted, refused or passed on to "
                        "another pod, by reason.",
                        Query(
                            f"sum by (decision, reason) ({rate('admission_total')})",
                            "{{decision}} {{reason}}",
                        ),
                        unit="reqps",
                        stacked=True,
                    ),
                    graph(
                        "Reserved and planned, in cores",
                        "What open sessions hold, what they use, and the budget (dashed). Reserved "
                        "far above used: the expected cost is too high; below: too low.",
                        Query("sum(backcloth_reserved_cores{$pods})", "reserved"),
                        Query(USED_CORES, "used"),
                        Query("sum(backcloth_cpu_quota_cores{$pods})", "budget"),
                        dashed="budget",
                    ),
                    graph(
                        "Sessions ended",
                        "By outcome, a minute.",
                        Query(
                            f"60 * sum by (outcome) ({rate('sessions_ended_total')})", "{{outcome}}"
                        ),
                        unit="cpm",
                        stacked=True,
                    ),
                    graph(
                        "Length of sessions",
                        "Of those that ended in the last hour, from opening to end.",
                        Query(
                            "histogram_quantile(0.5, sum by (le) (rate("
                            "backcloth_session_duration_seconds_bucket{$pods}[1h])))",
                            "p50",
                        ),
                        Query(
                            "histogram_quantile(0.95, sum by (le) (rate("
                            "backcloth_session_duration_seconds_bucket{$pods}[1h])))",
                            "p95",
                        ),
                        unit="s",
                    ),
                ],
            ),
            Row(
                "Errors",
                [
                    graph(
                        "Frames lost to faults",
                        "By reason. Each costs one frame, and the log says what happened.",
                        Query(
                            f"sum by (reason) ({rate('frames_dropped_total', reason=faults)})",
                            "{{reason}}",
                        ),
                        unit="fps",
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Webhook deliveries",
                        "By outcome, a second.",
                        Query(
                            f"sum by (outcome) ({rate('webhook_deliveries_total')})", "{{outcome}}"
                        ),
                        unit="reqps",
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Alerts",
                        "Of this service, pending and firing.",
                        Query(
                            'count by (alertname, alertstate) (ALERTS{alertname=~"Backcloth.+"})',
                            "{{alertname}} {{alertstate}}",
                        ),
                        stacked=True,
                        width=8,
                    ),
                ],
            ),
        ],
    )


def all_boards() -> list[Board]:
    """In the order of the links on top of each."""
    return [overview(), stages(), quality(), webrtc(), fleet(), admission()]
