"""The panels that the boards are made of: a query's text in, a panel as Grafana reads it out.

Every query goes to the data source that the board's variable names, and takes only series of the
chosen namespaces and pods: `$pods` in an expression stands for that selector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as query_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
PODS: Final = 'namespace=~"$namespace",pod=~"$pod"'
GREEN, ORANGE, RED, BLUE, TEXT = "green", "orange", "red", "blue", "text"
ROW_PX: Final = 8
"""Height of a graph in Grafana's grid units of 38 px."""


@dataclass(frozen=True, slots=True)
class Query:
    """One expression; `$pods` in it becomes the selector of namespace and pod."""

    expr: str
    legend: str = ""

    @property
    def text(self) -> str:
        """As Grafana gets it."""
        return self.expr.replace("$pods", PODS)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a value's colour changes: from the first to the second it is a warning."""

    warn: float | None = None
    bad: float | None = None
    low_is_bad: bool = False
    """Below `bad` is red and below `warn` orange, in place of above."""
    good: str = GREEN

    def builder(self) -> dashboard.ThresholdsConfig:
        """Grafana's steps: each colour holds from its value upwards."""
        if self.low_is_bad:
            steps = [(None, RED), (self.bad, ORANGE), (self.warn, self.good)]
        else:
            steps = [(None, self.good), (self.warn, ORANGE), (self.bad, RED)]
        kept = [models.Threshold(*steps[0])]
        kept += [
            models.Threshold(value, colour) for value, colour in steps[1:] if value is not None
        ]
        return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(kept)


NO_LIMITS: Final = Limits(good=BLUE)


def number(
    title: str,
    about: str,
    expr: str,
    *,
    unit: str = "short",
    decimals: int | None = None,
    limits: Limits = NO_LIMITS,
    width: int = 4,
) -> stat.Panel:
    """One big figure over a small curve: `expr` gives one series."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .thresholds(limits.builder())
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .color_mode(shapes.BigValueColorMode.VALUE)
        .graph_mode(shapes.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no data")
        .with_target(_target(Query(expr, title), "A"))
        .span(width)
        .height(4)
    )
    return panel if decimals is None else panel.decimals(decimals)


def graph(
    title: str,
    about: str,
    *queries: Query,
    unit: str = "short",
    stacked: bool = False,
    limits: Limits | None = None,
    top: float | None = None,
    dashed: str = "",
    colours: Mapping[str, str] | None = None,
    width: int = 12,
) -> timeseries.Panel:
    """Curves over time. `limits` are drawn as lines; `top` is the axis's least upper end; series
    whose name matches `dashed` are a bound that the others are seen against: a dashed line;
    `colours` are those of series whose colour has a meaning, by name."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .axis_soft_min(0)
        .line_width(1 if stacked else 2)
        .fill_opacity(35 if stacked else 8)
        .show_points(shapes.VisibilityMode.NEVER)
        .span_nulls(span_nulls=False)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(shapes.TooltipDisplayMode.MULTI)
            .sort(shapes.SortOrder.DESCENDING)
        )
        .span(width)
        .height(ROW_PX)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if top is not None:
        panel.axis_soft_max(top)
    if limits is not None:
        panel.thresholds(limits.builder())
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED)
        )
    if dashed:
        panel.override_by_regexp(
            dashed,
            [
                models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
                models.DynamicConfigValue("custom.fillOpacity", 0),
                models.DynamicConfigValue("custom.stacking", {"mode": "none", "group": "B"}),
                models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
            ],
        )
    for name, colour in (colours or {}).items():
        panel.override_by_regexp(
            f"^{name}$",
            [models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})],
        )
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(query, letter))
    return panel


def cells(title: str, about: str, expr: str, *, unit: str, width: int = 12) -> heatmap.Panel:
    """A histogram over time: `expr` gives a series for each bucket edge `le`."""
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .calculate(calculate=False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
            .reverse(reverse=False)
        )
        .cell_gap(1)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .with_target(_target(Query(expr, "{{le}}"), "A", query_models.PromQueryFormat.HEATMAP))
        .span(width)
        .height(ROW_PX)
    )


def bars(title: str, about: str, query: Query, *, unit: str, width: int = 12) -> bargauge.Panel:
    """One bar a series, as it is now."""
    return (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .display_mode(shapes.BarGaugeDisplayMode.BASIC)
        .thresholds(NO_LIMITS.builder())
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(query, "A", instant=True))
        .span(width)
        .height(ROW_PX)
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of pods."""

    name: str
    expr: str
    unit: str = "short"
    decimals: int | None = None
    limits: Limits | None = None
    label: str = ""
    """What is shown is this label of the series, in place of its value."""

    @property
    def per_pod(self) -> str:
        """One sample a pod, without the labels of the scrape."""
        return f"max by (pod{f', {self.label}' if self.label else ''}) ({self.expr})"


def pods(
    title: str, about: str, columns: Sequence[Column], link: str, height: int = 7
) -> table.Panel:
    """A row for each pod, a column for each instant query. A pod's name leads to `link`."""
    letters = "ABCDEFGHIJKL"
    values = {f"Value #{letters[place]}": one for place, one in enumerate(columns)}
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .filterable(filterable=True)
        .with_transformation(
            models.DataTransformerConfig(id_val="joinByField", options={"byField": "pod"})
        )
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True}
                    | {f"Time {place + 1}": True for place in range(len(columns))}
                    | {value: True for value, one in values.items() if one.label},
                    "renameByName": {"pod": "Pod"}
                    | {one.label or value: one.name for value, one in values.items()},
                },
            )
        )
        .override_by_name(
            "Pod",
            [models.DynamicConfigValue("links", [{"title": "Overview of this pod", "url": link}])],
        )
        .span(24)
        .height(height)
    )
    for place, column in enumerate(columns):
        panel.with_target(
            _target(
                Query(column.per_pod, column.name),
                letters[place],
                query_models.PromQueryFormat.TABLE,
                instant=True,
            )
        )
        properties = [models.DynamicConfigValue("unit", column.unit)]
        if column.decimals is not None:
            properties.append(models.DynamicConfigValue("decimals", column.decimals))
        if column.limits is not None:
            properties += [
                models.DynamicConfigValue("thresholds", column.limits.builder().build().to_json()),
                models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
                models.DynamicConfigValue("color", {"mode": "thresholds"}),
            ]
        panel.override_by_name(column.name, properties)
    return panel


def _target(
    query: Query,
    letter: str,
    shape: query_models.PromQueryFormat = query_models.PromQueryFormat.TIME_SERIES,
    *,
    instant: bool = False,
) -> prometheus.Dataquery:
    asked = (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(query.text)
        .legend_format(query.legend or "__auto")
        .format(shape)
        .editor_mode(query_models.QueryEditorMode.CODE)
        .ref_id(letter)
    )
    return asked.instant() if instant else asked.range()
