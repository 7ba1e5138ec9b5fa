"""What is refused under each target, as an SVG file that stands alone. Loads matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from loadtest.plan.fleet import ASKS, LEAST_LOADED, PASSED_ON
from loadtest.plan.headroom import MOST_LOST
from loadtest.plan.study import POD_START_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.plan.headroom import Curve

COLOURS: Final = {1: "#c0362c", 3: "#d9822b", PASSED_ON: "#3f8f4f", LEAST_LOADED: "#2f6db5"}
STYLES: Final = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Lines are told apart without their colours, too."""
MARKERS: Final = {1: "o", 3: "s", PASSED_ON: "D", LEAST_LOADED: "^"}
LEAST_SHOWN: Final = 1e-4
"""Of the calls: below, a line lies on the axis."""
SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "loadtest plan",
    "font.size": 9.0,
    "font.family": "sans-serif",
}


def svg(curves: Sequence[Curve]) -> str:
    """Shares of calls refused over the target, of the curves with the usual start of a pod."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(8.0, 4.2), layout="constrained")
        axes = figure.subplots()
        shown = [one for one in curves if one.scenario.pod_start_s == POD_START_S]
        fleets = list(dict.fromkeys((c.scenario.sessions, c.scenario.streams) for c in shown))
        for one in shown:
            which = one.scenario
            asks = ASKS.get(which.tries, f"{which.tries} at random")
            axes.plot(
                [point.target for point in one.points],
                [max(LEAST_SHOWN, point.lost_share) * 100 for point in one.points],
                label=f"{which.sessions:,} sessions, {which.streams} a pod, asking {asks}",
                color=COLOURS[which.tries],
                linestyle=STYLES[fleets.index((which.sessions, which.streams)) % len(STYLES)],
                marker=MARKERS[which.tries],
                markersize=3.5,
                linewidth=1.3,
            )
        axes.axhline(MOST_LOST * 100, color="#1b1d22", linewidth=0.9)
        axes.set_yscale("log")
        axes.set_ylim(LEAST_SHOWN * 100, 100)
        axes.set_xlabel("target of the mean of backcloth_capacity_ratio")
        axes.set_ylabel("% of calls refused")
        axes.grid(color="#dfe0e3", linewidth=0.6)
        figure.legend(loc="outside lower center", ncols=2, fontsize=7.5, frameon=False)
        written = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"
