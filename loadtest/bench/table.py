"""The tables of docs/performance.md, between two markers that only this writes between. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.bench.summary import Spread, Summary

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
MISSING = "-"
STAGES = ("decode", "prepare", "person", "blend", "encode")


class NoMarkers(Exception):
    """The page has no place for the tables."""


def spliced(page: str, tables: str) -> str:
    """The page with what is between its markers replaced. Raises NoMarkers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise NoMarkers(f"the page must have {BEGIN} and, behind it, {END}, each once")
    return f"{before}{BEGIN}\n{tables.strip()}\n{END}{after}"


def tables_of(
    summaries: Sequence[Summary],
    about: Mapping[str, Any],
    micro: Mapping[str, Any],
    failures: Sequence[str],
) -> str:
    """All tables as Markdown, with where and how they were made. In every cell the median of the
    runs, and in brackets their range."""
    parts = [
        _origin(summaries, about),
        _beside_naive(summaries),
        _beside_floor(summaries),
        _effect(summaries),
        _latency(summaries),
        _fidelity(summaries),
        *_micro(micro),
    ]
    if failures:
        parts.append("**Failed**\n\n" + "\n".join(f"- {_cell(one)}" for one in failures))
    return "\n\n".join(parts)


def _origin(summaries: Sequence[Summary], about: Mapping[str, Any]) -> str:
    pinned = (
        "nothing pinned"
        if about["server_core"] is None
        else f"server on core {about['server_core']}, client on core {about['client_core']}"
    )
    if about["awake"]:
        pinned += ", the server's core kept from halting"
    busiest = max((one.others_percent for one in summaries), default=0.0)
    return (
        f"Made by `{about['command']}` on {about['date']}, version {about['version']}. "
        f"Machine: {about['machine']}; {about['software']}; {pinned}. Runs of each: "
        f"{about['pairs']} of {about['seconds']:g} s. Naive server: `{about['naive']}`. Other "
        f"processes used up to {busiest:.0f} % of a core meanwhile. In each cell the median over "
        "the runs, in brackets their range; *met* compares the median with the target, "
        "unless a run was noisy."
    )


def _beside_naive(summaries: Sequence[Summary]) -> str:
    return _table(
        "Server CPU per returned frame beside the naive server, ms",
        ("load", "Backcloth", "naive", "naive / Backcloth", "at least", "met"),
        [
            (
                one.row.name,
                _range(one.color_ms),
                _range(one.naive_ms),
                _range(one.naive_ratio),
                f"{one.target.naive_ratio:g}" if one.target else MISSING,
                _met(one, "naive_ratio"),
            )
            for one in summaries
        ],
    )


def _beside_floor(summaries: Sequence[Summary]) -> str:
    return _table(
        "Beside the floor, ms CPU per frame",
        (
            "load", *STAGES, "floor", "Backcloth / floor", "at most", "met", "floor, tight loop",
            "Backcloth / that",
        ),
        [
            (
                one.row.name,
                *(
                    f"{one.floor_stages_ms[stage]:.2f}" if one.floor_stages_ms else MISSING
                    for stage in STAGES
                ),
                _range(one.floor_ms),
                _range(one.floor_ratio),
                f"{one.target.floor_ratio:g}" if one.target else MISSING,
                _met(one, "floor_ratio"),
                _range(one.tight_ms),
                _range(one.tight_ratio),
            )
            for one in summaries
        ],
    )  # fmt: skip


def _effect(summaries: Sequence[Summary]) -> str:
    return _table(
        "What the effect costs, percent of one core",
        (
            "load", "color", "none", "at most", "met", "none: the codecs alone",
            "color - none, points", "at most", "met",
        ),
        [
            (
                one.row.name,
                _range(one.color_percent, digits=1),
                _range(one.none_percent, digits=1),
                f"{one.target.none_percent:g}" if one.target else MISSING,
                _met(one, "none_percent"),
                _range(one.codecs_percent, digits=1),
                _range(one.effect_points, digits=1),
                f"{one.target.effect_points:g}" if one.target else MISSING,
                _met(one, "effect_points"),
            )
            for one in summaries
        ],
    )  # fmt: skip


def _latency(summaries: Sequence[Summary]) -> str:
    return _table(
        "Added latency, ms (p99: the worst run is what is judged)",
        ("load", "p50", "at most", "met", "p99", "under", "met", "naive p50", "naive p99"),
        [
            (
                one.row.name,
                _range(one.p50_ms, digits=1) + ("" if one.paired else " (pairing assumed)"),
                f"{one.target.p50_ms:g}" if one.target else MISSING,
                _met(one, "p50_ms"),
                _range(one.p99_ms, digits=1),
                f"{one.target.p99_ms:g}" if one.target else MISSING,
                _met(one, "p99_ms"),
                _range(one.naive_p50_ms, digits=0),
                _range(one.naive_p99_ms, digits=0),
            )
            for one in summaries
        ],
    )


def _fidelity(summaries: Sequence[Summary]) -> str:
    def judged(one: Summary, name: str, digits: int) -> str:
        return MISSING if one.fidelity is None else f"{one.fidelity[name]:.{digits}f}"

    return _table(
        "What came back in those runs",
        (
            "load", "back of sent", "level", "kbit/s", "naive: back of sent", "kbit/s",
            "bits a frame, Backcloth / naive", "met", "IoU", "worst frame", "MAD", "PSNR, dB",
            "naive: PSNR, dB",
        ),
        [
            (
                one.row.name,
                f"{one.returned} of {one.sent}",
                "/".join(one.levels) or MISSING,
                _range(one.returned_kbps, digits=0),
                f"{one.naive_returned} of {one.naive_sent}",
                _range(one.naive_kbps, digits=0),
                _range(one.bitrate_ratio),
                _met(one, "honest"),
                judged(one, "iou", 3),
                judged(one, "worst_iou", 3),
                judged(one, "mad", 4),
                judged(one, "psnr_db", 1),
                MISSING if one.naive_psnr_db is None else f"{one.naive_psnr_db:.1f}",
            )
            for one in summaries
        ],
    )  # fmt: skip


def _micro(micro: Mapping[str, Any]) -> list[str]:
    """Tables of `service bench`'s own JSON, where it ran."""
    parts = []
    if "models" in micro.get("models", {}):
        parts.append(
            _table(
                "One run of each network (`service bench models`), ms",
                ("network", "CPU, median", "CPU, p95"),
                [
                    (one["name"], f"{one['cpu_ms_median']:.2f}", f"{one['cpu_ms_p95']:.2f}")
                    for one in micro["models"]["models"]
                    if one["installed"]
                ],
            )
        )
    if "frames" in micro.get("frames", {}):
        parts.append(
            _table(
                "The frame path (`service bench frames`), ms CPU per frame",
                ("clip", "size", "asked", "network", "frame", "frame / network"),
                [
                    (
                        one["clip"],
                        f"{one['width']}x{one['height']}",
                        f"{one['asked']:.2f}",
                        f"{one['network_ms']:.2f}",
                        f"{one['total_ms']:.2f}",
                        f"{one['ratio']:.2f}",
                    )
                    for one in micro["frames"]["frames"]
                ],
            )
        )
    return parts


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    body = "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)
    return f"**{title}**\n\n{body}"


def _cell(text: str) -> str:
    """One line, and no bar that would end a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _range(spread: Spread | None, *, digits: int = 2) -> str:
    if spread is None:
        return MISSING
    if len(spread.values) == 1:
        return f"{spread.median:.{digits}f}"
    return f"{spread.median:.{digits}f} ({spread.least:.{digits}f} to {spread.most:.{digits}f})"


def _met(summary: Summary, name: str) -> str:
    if summary.noisy and name in summary.verdicts:
        return "noisy"
    verdict = summary.verdicts.get(name)
    return MISSING if verdict is None else "yes" if verdict else "**no**"
