"""The page around the plots. Every text goes through `html.escape`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.clients import AIORTC, WRTC
from loadtest.report import drawing
from loadtest.report.panels import timeline
from loadtest.results import CapacityResult, LoadResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from loadtest.figures import Percentiles
    from loadtest.report.panels import Panel
    from loadtest.results import Criterion, Session, Setup, Slo, Trial

STYLE = Path(__file__).with_name("page.css")
MOST_ROWS = 200
MOST_REFUSALS = 10
"""Different ones."""
MOST_WORDS = 140
"""Of one cell."""
NOT_MEASURED = "\N{EN DASH}"
COUNTED = (
    ("estimate kbit/s", "availableOutgoingBitrate", 1e-3),
    ("round trip ms", "roundTripTime", 1e3),
    ("encoded", "framesEncoded", 1),
    ("sent width", "frameWidth", 1),
    ("height", "frameHeight", 1),
    ("decoded", "framesDecoded", 1),
    ("dropped", "framesDropped", 1),
    ("freezes", "freezeCount", 1),
    ("key frames asked for", "pliCount", 1),
)
"""Head, identifier in W3C's WebRTC statistics, and factor of its unit."""
HOW = {
    AIORTC: (
        "A frame is sent when its last packet is handed to the client's DTLS transport, and back "
        "when the last packet of its returned picture has come in: the client's own encoder, "
        "decoder and jitter buffer are not in it. Which returned frame is which sent frame is read "
        "from numbers drawn into the picture at the start of a session; from then on the distances "
        "of RTP timestamps tell, and the numbers are read again now and then to see whether that "
        "still holds."
    ),
    WRTC: (
        "The clients are peers of libwebrtc. A frame is sent when its raw picture is given to the "
        "encoder, and back when the decoded picture is given out: the client's own encoder, "
        "decoder and jitter buffer are in it. The number of each frame is read from its picture."
    ),
}


def of(result: LoadResult | CapacityResult) -> str:
    """The whole document."""
    if isinstance(result, CapacityResult):
        title, body = "Capacity", "".join(_capacity(result))
    else:
        title = "Load test"
        body = "".join(_verdict(result)) + "".join(_load(result, "run"))
    setup = result.setup
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}: {escape(setup.target)}, {escape(setup.profile)}</title>\n"
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        f'<header>\n<p class="kind">{title}</p>\n'
        f"<h1>{escape(setup.target)}: {escape(setup.profile)}</h1>\n"
        f'<p class="what">{escape(_stream(setup))}</p>\n</header>\n'
        f"<main>\n{body}{''.join(_machine(setup))}</main>\n</body>\n</html>\n"
    )


def _capacity(result: CapacityResult) -> Iterator[str]:
    slo = _limits(result.setup.slo)
    if not result.largest:
        verdict, rest = "broken", f"Not even one session holds {slo}."
    elif result.bounded:
        verdict = "held"
        rest = f"{_sessions(result.largest)} {slo}; {result.largest + 1} do not."
    else:
        verdict, rest = "held", f"At least {_sessions(result.largest)} {slo}; more were not tried."
    yield f'<p class="verdict {verdict}" role="status">{escape(rest)}</p>\n'
    yield "<section>\n<h2>Trials</h2>\n"
    yield _table(
        "Every number of sessions that was tried, in order.",
        ("sessions", "SLO", "p50 ms", "p95 ms", "p99 ms", "worst frames back", "freezes",
         "CPU ms/frame", "what did not hold"),
        (_trial(trial) for trial in result.trials),
    )  # fmt: skip
    yield "</section>\n"
    for run, key, title in (
        (result.at_largest, "largest", f"With {result.largest}, the most that hold"),
        (result.beyond, "beyond", "With the fewest that do not hold"),
    ):
        if run is not None:
            yield f'<section class="part">\n<h2>{title}</h2>\n'
            yield "".join(_verdict(run))
            yield "".join(_load(run, key))
            yield "</section>\n"


def _sessions(count: int) -> str:
    return f"{count} session holds" if count == 1 else f"{count} sessions hold"


def _trial(trial: Trial) -> tuple[str, ...]:
    totals, late = trial.totals, trial.totals.latency_ms
    return (
        str(trial.sessions),
        _judged(trial.held),
        *_latencies(late),
        _percent(totals.worst_fps_share),
        str(totals.freezes),
        _number(totals.server_cpu_ms_per_frame, 2),
        escape("; ".join(trial.broke)),
    )


def _verdict(result: LoadResult) -> Iterator[str]:
    broke = [one.name for one in result.slo if not one.held]
    crept = [one.name for one in result.soak if one.held is False]
    if not result.slo:
        verdict, words = "unknown", "No SLO was judged"
    elif broke:
        verdict, words = "broken", f"SLO not held: {', '.join(broke)}"
    else:
        verdict, words = "held", "SLO held"
    if crept:
        verdict, words = "broken", f"{words}. Crept: {', '.join(crept)}"
    if result.interrupted:
        words += " (until the run was stopped by hand)"
    yield f'<p class="verdict {verdict}" role="status">{escape(words)}</p>\n'
    if result.warnings:
        yield '<ul class="warnings" aria-label="Warnings">\n'
        yield "".join(f"<li>{escape(warning)}</li>\n" for warning in result.warnings)
        yield "</ul>\n"


def _load(result: LoadResult, key: str) -> Iterator[str]:
    totals = result.totals
    late = totals.latency_ms
    yield '<dl class="tiles">\n'
    for name, value, unit in (
        ("latency p95", _number(late.p95 if late else None, 1), "ms"),
        ("frames back", _percent(totals.back / totals.sent if totals.sent else None), "of sent"),
        ("freezes", str(totals.freezes), ""),
        ("sessions at once", str(totals.most_open), ""),
        ("server CPU", _number(totals.server_cpu_ms_per_frame, 2), "ms a frame"),
        ("server CPU", _number(_times(totals.server_cores_per_session, 100), 1),
         "% of a core a session"),
    ):  # fmt: skip
        small = f" <small>{unit}</small>" if unit and value != NOT_MEASURED else ""
        yield f"<div><dt>{name}</dt><dd>{value}{small}</dd></div>\n"
    yield "</dl>\n"
    for title, criteria in (("SLO", result.slo), ("What must not creep", result.soak)):
        if criteria:
            yield _table(
                title,
                ("", "criterion", "limit", "found"),
                (_criterion(one) for one in criteria),
                caption_is_title=True,
            )
    yield from _plots(result, key)
    yield _figures(result)
    yield from _per_session(result)
    yield "<h3>How latency was measured</h3>\n"
    yield f"<p>{escape(_how(result))}</p>\n"


def _how(result: LoadResult) -> str:
    setup, totals = result.setup, result.totals
    words = HOW.get(setup.clients, "")
    if setup.clients == WRTC:
        words += f" {totals.verified} numbers were read"
        words += f"; in {totals.assumed} sessions too few." if totals.assumed else "."
    else:
        words += (
            f" Numbers that were read later said the same {totals.verified} times, and something "
            f"else {totals.mispaired} times, which was then set right."
        )
        if totals.assumed:
            words += (
                f" In {totals.assumed} sessions no number could be read: there the first frame "
                "back was taken for the first that was sent."
            )
    words += (
        " Percentiles are of all frames of the measured spans, which begin when a session is warm: "
        "the smallest latency that so many percent of the frames do not exceed."
    )
    return words.strip()


def _plots(result: LoadResult, key: str) -> Iterator[str]:
    if not result.seconds:
        yield '<p class="missing">The run was too short for plots.</p>\n'
        return
    line = timeline(result)
    yield "<h3>Over time</h3>\n"
    if result.events:
        yield '<p>Vertical lines are marked with the number of what was done:</p>\n<ol class="ev">'
        yield "".join(
            f"<li>{escape(event.what)}, at {event.at_s:.1f} s</li>\n" for event in result.events
        )
        yield "</ol>\n"
    if line.seconds_per_point > 1:
        yield (
            f"<p>Each point stands for {line.seconds_per_point} seconds: for the worst of them in "
            "latency, lag, freezes, threads and descriptors and least frames, for their mean "
            "elsewhere.</p>\n"
        )
    yield '<div class="plots">\n'
    for panel in line.panels:
        yield _plot(
            panel.title,
            panel.caption,
            _described(panel),
            drawing.over_time(replace(panel, key=f"{key}-{panel.key}"), line),
        )
    if result.latency_bins:
        yield _plot(
            "Latency of all frames",
            "Frames by latency; what is beyond the slowest 0.5 % is in the last bar.",
            _spread(result.totals.latency_ms),
            drawing.histogram(result.latency_bins, result.setup.slo.p95_ms, f"{key}-histogram"),
            wide=True,
        )
    yield "</div>\n"
    missing = [*line.missing, *(() if result.latency_bins else ("Latency of all frames",))]
    if missing:
        yield f'<p class="missing">Not measured: {escape("; ".join(missing))}.</p>\n'


def _plot(title: str, caption: str, described: str, svg: str, *, wide: bool = False) -> str:
    label = escape(f"{title}. {described}", quote=True)
    shape = ' class="wide"' if wide else ""
    return (
        f"<figure{shape}>\n<figcaption><b>{escape(title)}</b> {escape(caption)}</figcaption>\n"
        f'<div class="plot" role="img" aria-label="{label}">{svg}</div>\n</figure>\n'
    )


def _described(panel: Panel) -> str:
    """What a plot shows, for those who do not see it."""
    words = []
    for line in panel.lines:
        values = [value for value in line.values if value is not None]
        if line.limit and min(values) == max(values):
            words.append(f"{line.name} {values[0]:.4g}")
            continue
        words.append(
            f"{line.name}: from {min(values):.4g} to {max(values):.4g}, "
            f"mean {sum(values) / len(values):.4g}"
        )
    return f"In {panel.unit or 'number'}. {'; '.join(words)}."


def _spread(late: Percentiles | None) -> str:
    if late is None:
        return ""
    return f"p50 {late.p50:.1f}, p95 {late.p95:.1f}, p99 {late.p99:.1f}, {late.largest:.1f} at most"


def _figures(result: LoadResult) -> str:
    totals, before, after = result.totals, result.before, result.after
    late = totals.latency_ms
    drops = ", ".join(f"{count} {reason}" for reason, count in sorted(totals.dropped.items()))
    rows = (
        ("sessions", f"{totals.asked} asked for, {totals.admitted} admitted, {totals.refused} "
         f"refused, {totals.failed} failed, {totals.cut_off} cut off"),
        ("time of sessions measured", f"{totals.session_seconds:.1f} s"),
        ("frames", f"{totals.back} back of {totals.sent} sent; {totals.lost} lost on the way"),
        ("worst session", f"{_percent(totals.worst_fps_share)} of its frames back"),
        ("latency", NOT_MEASURED if late is None else f"{_spread(late)} ms"),
        ("freezes", str(totals.freezes)),
        ("bitrate of a session", f"{_number(totals.sent_kbps, 0)} kbit/s sent, "
         f"{_number(totals.back_kbps, 0)} back"),
        ("CPU of the server", f"{_number(totals.server_cpu_seconds, 1)} s in {totals.seconds} s"),
        ("CPU of the clients", f"{totals.client_cpu_seconds:.1f} s, "
         f"{_number(_times(totals.client_cores_per_session, 100), 1)} % of a core a session"),
        ("dropped by the server", drops or "none"),
        ("raw frames, by the server's count", _count(totals.raw_frames)),
        ("memory at rest", f"{_mib(before.rss_bytes)} before, {_mib(after.rss_bytes)} after"),
        ("threads at rest", f"{_count(before.threads)} before, {_count(after.threads)} after"),
        ("descriptors at rest", f"{_count(before.files)} before, {_count(after.files)} after"),
    )  # fmt: skip
    return _pairs("Figures", rows)


def _per_session(result: LoadResult) -> Iterator[str]:
    refused = [one for one in result.sessions if one.outcome is Outcome.REFUSED]
    shown, left = _chosen([one for one in result.sessions if one.outcome is not Outcome.REFUSED])
    yield _table(
        "Sessions",
        ("#", "came at s", "measured s", "outcome", "frames back", "fps", "p50 ms", "p95 ms",
         "p99 ms", "freezes", "longest gap ms", "pairing", "why"),
        (_session(one) for one in shown),
        caption_is_title=True,
    )  # fmt: skip
    if left:
        yield f"<p>{escape(_summary(left))}</p>\n"
    if any(one.peer for one in shown):
        yield _table(
            "What the peers counted, from getStats",
            ("#", *(name for name, _, _ in COUNTED), "quality limited by"),
            (_counted(one.number, one.peer) for one in shown if one.peer),
            caption_is_title=True,
        )
    if refused:
        yield _table("Refusals", ("sessions", "words"), _refusals(refused), caption_is_title=True)


def _chosen(sessions: Sequence[Session]) -> tuple[list[Session], list[Session]]:
    """At most as many as fit, those first with which something was wrong; and the rest."""

    def badness(one: Session) -> tuple[bool, float, int, float]:
        wrong = one.outcome in (Outcome.FAILED, Outcome.CUT_OFF)
        share = one.back / one.sent if one.sent else 1.0
        return wrong, 1 - share, one.freezes, one.latency_ms.p95 if one.latency_ms else 0.0

    ranked = sorted(sessions, key=badness, reverse=True)
    shown = sorted(ranked[:MOST_ROWS], key=lambda one: one.number)
    return shown, ranked[MOST_ROWS:]


def _counted(number: int, peer: Mapping[str, Any]) -> tuple[str, ...]:
    cells = []
    for _, key, factor in COUNTED:
        value = peer.get(key)
        cells.append(f"{value * factor:.4g}" if isinstance(value, int | float) else NOT_MEASURED)
    return str(number), *cells, escape(str(peer.get("qualityLimitationReason", NOT_MEASURED)))


def _refusals(refused: Sequence[Session]) -> Iterator[tuple[str, str]]:
    """How often the server said what."""
    said = Counter(one.why for one in refused)
    kept = said.most_common(MOST_REFUSALS)
    yield from ((str(count), escape(words)) for words, count in kept)
    if rest := len(refused) - sum(count for _, count in kept):
        yield str(rest), "other words"


def _summary(left: Sequence[Session]) -> str:
    outcomes = ", ".join(
        f"{count} {outcome.value}"
        for outcome in Outcome
        if (count := sum(one.outcome is outcome for one in left))
    )
    words = f"{len(left)} more did no worse than these: {outcomes}."
    late = [one.latency_ms.p95 for one in left if one.latency_ms is not None]
    if late:
        words += f" Their p95 is between {min(late):.1f} and {max(late):.1f} ms."
    return words


def _session(one: Session) -> tuple[str, ...]:
    return (
        str(one.number),
        f"{one.arrived_s:.1f}",
        f"{one.measured_s:.1f}",
        escape(one.outcome.value),
        _percent(one.back / one.sent if one.sent else None),
        _number(one.fps, 1),
        *_latencies(one.latency_ms),
        str(one.freezes),
        _number(one.longest_gap_ms, 0),
        escape(one.pairing) if one.measured_s else NOT_MEASURED,
        escape(_cut(one.why)),
    )


def _machine(setup: Setup) -> Iterator[str]:
    machine = setup.machine
    quota = "none" if setup.server_quota is None else f"{setup.server_quota:g} cores"
    rows = (
        ("command", setup.command_line),
        ("server", setup.server),
        ("server's cores", setup.server_cores or "not pinned"),
        ("server's CPU quota at the start", quota),
        ("clients", f"{setup.clients}, {setup.client_processes} processes, "
         f"cores {setup.client_cores or 'not pinned'}"),
        ("clip", setup.clip),
        ("effect", json.dumps(dict(setup.effect))),
        ("seed", "" if setup.seed is None else str(setup.seed)),
        ("machine", f"{machine.cpu}, {machine.cores} cores, {machine.kernel}, {machine.python}"),
        ("started", setup.started_at),
    )  # fmt: skip
    yield "<section>\n"
    yield _pairs("What was run, and where", tuple(row for row in rows if row[1]), code=True)
    yield "</section>\n"


def _stream(setup: Setup) -> str:
    effect = setup.effect.get("type", "")
    return (
        f"{setup.codec} {setup.width}x{setup.height} at {setup.fps} fps, effect {effect}; "
        f"{setup.started_at[:10]}"
    )


def _limits(slo: Slo) -> str:
    return (
        f"{100 * slo.least_fps_share:g} % of the frames, p95 within {slo.p95_ms:g} ms and at most "
        f"{slo.freezes} freezes"
    )


def _criterion(one: Criterion) -> tuple[str, ...]:
    return _judged(one.held), escape(one.name), escape(one.limit), escape(one.value)


def _judged(held: bool | None) -> str:
    kind = {True: "held", False: "broken", None: "unknown"}[held]
    words = {True: "held", False: "not held", None: "not judged"}[held]
    return f'<span class="mark {kind}">{words}</span>'


def _table(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption_is_title: bool = False,
) -> str:
    """Cells are HTML already."""
    kind = ' class="title"' if caption_is_title else ""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(title)}">\n<table>\n'
        f"<caption{kind}>{escape(title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )


def _pairs(title: str, rows: Sequence[tuple[str, str]], *, code: bool = False) -> str:
    mark = ("<code>", "</code>") if code else ("", "")
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{mark[0]}{escape(value)}{mark[1]}</td></tr>\n'
        for name, value in rows
    )
    return (
        f'<table class="pairs">\n<caption class="title">{escape(title)}</caption>\n'
        f"<tbody>\n{body}</tbody>\n</table>\n"
    )


def _latencies(late: Percentiles | None) -> tuple[str, str, str]:
    if late is None:
        return NOT_MEASURED, NOT_MEASURED, NOT_MEASURED
    return f"{late.p50:.1f}", f"{late.p95:.1f}", f"{late.p99:.1f}"


def _number(value: float | None, digits: int) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return NOT_MEASURED if value is None else str(value)


def _percent(share: float | None) -> str:
    return NOT_MEASURED if share is None else f"{100 * share:.1f} %"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _mib(size: int | None) -> str:
    return NOT_MEASURED if size is None else f"{size / (1 << 20):.0f} MiB"


def _cut(words: str) -> str:
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}…"
