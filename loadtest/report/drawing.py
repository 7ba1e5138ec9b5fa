"""Plots as SVG that belongs into an HTML page: colours and fonts are the page's."""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes

    from loadtest.report.panels import Line, Panel, Timeline

SIZE_IN = (6.4, 2.5)
WIDE_IN = (13.0, 2.7)
MARGINS = {"left": 0.095, "right": 0.975, "bottom": 0.19, "top": 0.86}
"""Fixed, so that the same second is at the same place in every plot."""
WIDE_MARGINS = {"left": 0.055, "right": 0.985, "bottom": 0.18, "top": 0.88}
COLOURS = tuple(f"#a1b2{index:02x}" for index in range(9))
"""Stand-ins: each is replaced by the page's variable of that number."""
INK, FAINT, LIMIT = "#a1b3f0", "#a1b3f1", "#a1b3f2"
VARIABLES = {
    **{colour: f"var(--series-{index})" for index, colour in enumerate(COLOURS)},
    INK: "var(--ink-soft)",
    FAINT: "var(--grid)",
    LIMIT: "var(--limit)",
}
STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Lines are told apart without their colours, too."""
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "loadtest",
    "text.parse_math": False,  # names are names, with or without a dollar sign
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "font.size": 9.0,
    "path.simplify": True,
}
HEADROOM = 1.08
HISTOGRAM_BARS = 120
MOST_X_TICKS = 9


def over_time(panel: Panel, line: Timeline) -> str:
    """One panel; all panels of a timeline have the same x axis."""
    with mpl.rc_context(SETTINGS):
        figure, axes = _figure(SIZE_IN, MARGINS)
        if panel.stacked:
            _stack(axes, panel.lines, line.at_s)
        else:
            _lines(axes, panel.lines, line.at_s)
        for number, at_s in enumerate(line.events_s, 1):
            axes.axvline(at_s, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
            axes.annotate(
                str(number),
                (at_s, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, -8),
                textcoords="offset points",
                fontsize=7.5,
            )
        axes.set_xlim(0, line.end_s)
        axes.set_xlabel("seconds of the run")
        axes.xaxis.set_major_locator(MaxNLocator(MOST_X_TICKS, integer=True))
        if line.end_s >= 600:  # minutes are read more easily
            axes.set_xlabel("minutes of the run")
            axes.xaxis.set_major_locator(_Minutes(MOST_X_TICKS))
            axes.xaxis.set_major_formatter(lambda value, _position: f"{value / 60:g}")
        axes.set_ylabel(panel.unit)
        _from_zero(axes, panel)
        _legend(axes, len(panel.lines))
        return _svg(figure, panel.key)


def histogram(bins: Sequence[tuple[float, int]], slo_ms: float, key: str) -> str:
    """Latencies of all frames; the last bar holds what is beyond."""
    with mpl.rc_context(SETTINGS):
        figure, axes = _figure(WIDE_IN, WIDE_MARGINS)
        width, heights = bars(bins)
        edges = [index * width for index in range(len(heights))]
        axes.bar(edges, heights, width=width * 0.92, align="edge", color=COLOURS[0])
        if slo_ms <= edges[-1] + width:
            axes.axvline(slo_ms, color=LIMIT, linewidth=1.4, linestyle=STYLES[1], label="SLO")
            _legend(axes, 1)
        axes.set_xlim(0, edges[-1] + width)
        axes.set_xlabel("latency in ms")
        axes.set_ylabel("frames")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        return _svg(figure, key)


def bars(bins: Sequence[tuple[float, int]]) -> tuple[float, list[int]]:
    """Width of a bar in ms, and frames in each from 0 on: 99.5 % of all, and the rest in the last.

    `bins`: lower edge in ms and count, rising, not empty.
    """
    total = sum(count for _, count in bins)
    passed, reach = 0, bins[-1][0]
    for edge, count in bins:
        passed += count
        if passed >= 0.995 * total:
            reach = edge
            break
    width = float(max(1, math.ceil((reach + 1) / HISTOGRAM_BARS)))
    heights = [0] * (int(reach // width) + 1)
    beyond = 0
    for edge, count in bins:
        if edge <= reach:
            heights[int(edge // width)] += count
        else:
            beyond += count
    return width, [*heights, beyond] if beyond else heights


class _Minutes(MaxNLocator):
    """Whole minutes."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        return [60 * minute for minute in MaxNLocator.tick_values(self, vmin / 60, vmax / 60)]


def _figure(size: tuple[float, float], margins: Mapping[str, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size)
    axes = figure.subplots(gridspec_kw=dict(margins))
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def _lines(axes: Axes, lines: Iterable[Line], at_s: Sequence[float]) -> None:
    number = 0
    for line in lines:
        values = [math.nan if value is None else value for value in line.values]
        marker = "o" if _lonely(values) else None
        if line.limit:
            axes.plot(
                at_s, values, label=line.name, color=LIMIT, linewidth=1.2, linestyle=STYLES[1],
                drawstyle="steps-mid",
            )  # fmt: skip
            continue
        axes.plot(
            at_s, values, label=line.name, color=COLOURS[number % len(COLOURS)], linewidth=1.5,
            linestyle=STYLES[number % len(STYLES)], marker=marker, markersize=2.5,
        )  # fmt: skip
        number += 1


def _lonely(values: Sequence[float]) -> bool:
    """Whether some value has no neighbour that it would be joined to by a line."""
    here = [not math.isnan(value) for value in [math.nan, *values, math.nan]]
    return any(
        here[index] and not here[index - 1] and not here[index + 1]
        for index in range(1, len(here) - 1)
    )


def _stack(axes: Axes, lines: Sequence[Line], at_s: Sequence[float]) -> None:
    axes.stackplot(
        at_s,
        [[value or 0.0 for value in line.values] for line in lines],
        labels=[line.name for line in lines],
        colors=COLOURS[: len(lines)],
        step="mid",
        linewidth=0,
    )


def _from_zero(axes: Axes, panel: Panel) -> None:
    columns = zip(*(line.values for line in panel.lines), strict=True)
    if panel.stacked:
        top = max((sum(value or 0.0 for value in column) for column in columns), default=0.0)
    else:
        top = max(
            (value for line in panel.lines for value in line.values if value is not None),
            default=0.0,
        )
    axes.set_ylim(0, (top or 1.0) * HEADROOM)
    whole = panel.unit in ("sessions", "", "in a second")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=whole))


def _legend(axes: Axes, count: int) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=min(count, 5), frameon=False,
        borderaxespad=0.2, handlelength=2.2, columnspacing=1.4, fontsize=8.5,
    )  # fmt: skip


def _svg(figure: Figure, key: str) -> str:
    """The drawing alone, with ids of its own and nothing that names an address."""
    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(written, format="svg", metadata=nothing)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    head, _, rest = text.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None, "matplotlib writes one"
    # HTML knows the namespaces of SVG without being told.
    text = f'<svg {box[0]} aria-hidden="true" focusable="false">' + rest
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{key}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{key}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font: \1 var(--sans)", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return text
