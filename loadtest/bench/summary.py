"""A row's runs as ratios, medians and ranges, and whether they reach what was asked for. Pure."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from loadtest.bench.figures import Figures
from loadtest.bench.rows import Kind, Target, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.bench.ledger import Ledger
    from loadtest.bench.rows import Row

SAME_BITRATE = 0.10
"""Two servers send the same where what they spend on a frame differs by less."""
FULL_LEVEL = "full"


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure of several runs, or of several pairs."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None of nothing."""
        return cls(tuple(values)) if values else None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one row. None where too little ran."""

    row: Row
    target: Target | None
    color_ms: Spread | None
    "CPU per returned frame; as naive_ms and floor_ms."
    naive_ms: Spread | None
    floor_ms: Spread | None
    floor_stages_ms: Mapping[str, float]
    "Medians by stage."
    naive_ratio: Spread | None
    floor_ratio: Spread | None
    tight_ms: Spread | None
    "The floor's in a tight loop, which nobody is judged by."
    tight_ratio: Spread | None
    color_percent: Spread | None
    "Of one core; as none_percent."
    none_percent: Spread | None
    codecs_percent: Spread | None
    "Of decoding and encoding the camera alone, in the floor's thread."
    effect_points: Spread | None
    p50_ms: Spread | None
    p99_ms: Spread | None
    naive_p50_ms: Spread | None
    naive_p99_ms: Spread | None
    sent: int
    "In all color runs together; as returned."
    returned: int
    naive_sent: int
    naive_returned: int
    levels: tuple[str, ...]
    "All quality levels that were seen in color runs."
    returned_kbps: Spread | None
    naive_kbps: Spread | None
    bitrate_ratio: Spread | None
    "Backcloth's bits per returned frame over the naive server's."
    paired: bool
    "Every latency of a color run is of frames that were matched by their numbers."
    others_percent: float
    "Of one core, by other processes, in the run that had most of it."
    noisy: bool
    "One of the runs was."
    fidelity: Mapping[str, Any] | None
    naive_psnr_db: float | None

    @property
    def verdicts(self) -> dict[str, bool | None]:
        """By target: whether its median (of p99: the worst run) reaches it; None: not known, as
        all are where a run was noisy."""
        target = self.target
        if target is None:
            return {}
        found = self._verdicts(target)
        return dict.fromkeys(found) if self.noisy else found

    def _verdicts(self, target: Target) -> dict[str, bool | None]:
        return {
            "naive_ratio": _at_least(self.naive_ratio, target.naive_ratio),
            "floor_ratio": _at_most(self.floor_ratio, target.floor_ratio),
            "effect_points": _at_most(self.effect_points, target.effect_points),
            "none_percent": _at_most(self.none_percent, target.none_percent),
            "p50_ms": _at_most(self.p50_ms, target.p50_ms),
            "p99_ms": None if self.p99_ms is None else self.p99_ms.most < target.p99_ms,
            "honest": self.honest,
        }

    @property
    def honest(self) -> bool | None:
        """Whether nothing was saved by sending less: every frame came back, at the full level, for
        as many bits as the naive server spent, or for fewer where what they show is nearer to the
        truth all the same: an encoder at its least quantiser has nothing to spend them on."""
        if self.color_ms is None:
            return None
        spent = 1.0 if self.bitrate_ratio is None else self.bitrate_ratio.median
        enough = spent >= 1 - SAME_BITRATE or self._nearer
        everything = self.returned == self.sent and self.levels == (FULL_LEVEL,)
        return everything and enough and spent <= 1 + SAME_BITRATE

    @property
    def _nearer(self) -> bool:
        if self.fidelity is None or self.naive_psnr_db is None:
            return False
        return bool(self.fidelity["psnr_db"] > self.naive_psnr_db)

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"row": self.row.name, "verdicts": self.verdicts}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, Spread):
                found[name] = {
                    "median": round(value.median, 3),
                    "least": round(value.least, 3),
                    "most": round(value.most, 3),
                    "values": [round(one, 3) for one in value.values],
                }
            elif name == "target":
                found[name] = None if value is None else asdict(value)
            elif name != "row":
                found[name] = value
        return found


def summarise(row: Row, ledger: Ledger, pairs: int) -> Summary:
    """What the ledger has of a row; ratios only of runs of the same pair."""
    by_kind = {kind: [ledger.figures(row, pair, kind) for pair in range(pairs)] for kind in Kind}
    color, none, naive = (
        [None if one is None else Figures.of_json(one["figures"]) for one in by_kind[kind]]
        for kind in (Kind.COLOR, Kind.NONE, Kind.NAIVE)
    )
    floor = by_kind[Kind.FLOOR]
    floor_ms = [None if one is None else float(one["total_ms"]) for one in floor]
    tight_ms = [None if one is None else float(one["tight_ms"]) for one in floor]
    ran = [one for one in color if one is not None]
    naive_ran = [one for one in naive if one is not None]
    levels = dict.fromkeys(level for one in ran for level in one.levels)
    judged = [
        one["fidelity"]
        for one in by_kind[Kind.COLOR]
        if one and "error" not in one.get("fidelity", {"error": ""})
    ]
    naive_judged = [
        one["psnr_db"] for one in by_kind[Kind.NAIVE] if one and one.get("psnr_db") is not None
    ]
    return Summary(
        row=row,
        target=target_of(row),
        color_ms=_spread(color, lambda one: one.cpu_ms_per_frame),
        naive_ms=_spread(naive, lambda one: one.cpu_ms_per_frame),
        floor_ms=Spread.of([one for one in floor_ms if one is not None]),
        floor_stages_ms=_stages([one for one in floor if one is not None]),
        naive_ratio=_paired(naive, color, lambda b, a: b.cpu_ms_per_frame / a.cpu_ms_per_frame),
        floor_ratio=_paired(color, floor_ms, lambda a, f: a.cpu_ms_per_frame / f),
        tight_ms=Spread.of([one for one in tight_ms if one is not None]),
        tight_ratio=_paired(color, tight_ms, lambda a, f: a.cpu_ms_per_frame / f),
        color_percent=_spread(color, lambda one: one.core_percent),
        none_percent=_spread(none, lambda one: one.core_percent),
        codecs_percent=Spread.of(
            [float(one["codecs_percent"]) for one in floor if one is not None]
        ),
        effect_points=_paired(color, none, lambda on, off: on.core_percent - off.core_percent),
        p50_ms=_spread(color, _p50_ms),
        p99_ms=_spread(color, _p99_ms),
        naive_p50_ms=_spread(naive, _p50_ms),
        naive_p99_ms=_spread(naive, _p99_ms),
        sent=sum(one.sent for one in ran),
        returned=sum(one.returned for one in ran),
        naive_sent=sum(one.sent for one in naive_ran),
        naive_returned=sum(one.returned for one in naive_ran),
        levels=tuple(levels),
        returned_kbps=_spread(color, lambda one: one.returned_kbps),
        naive_kbps=_spread(naive, lambda one: one.returned_kbps),
        bitrate_ratio=_paired(color, naive, lambda a, b: a.kbit_per_frame / b.kbit_per_frame),
        paired=all(one.pairing == "picture" for one in ran),
        others_percent=max(
            (one.others_percent for one in (*color, *none, *naive) if one is not None), default=0.0
        ),
        noisy=any(one is not None and one.noisy for one in (*color, *none, *naive)),
        fidelity=judged[0] if judged else None,
        naive_psnr_db=naive_judged[0] if naive_judged else None,
    )


def _spread(
    runs: Sequence[Figures | None], figure: Callable[[Figures], float | None]
) -> Spread | None:
    found = [figure(one) for one in runs if one is not None]
    return Spread.of([value for value in found if value is not None])


def _p50_ms(run: Figures) -> float | None:
    return None if run.latency_ms is None else run.latency_ms.p50


def _p99_ms(run: Figures) -> float | None:
    return None if run.latency_ms is None else run.latency_ms.p99


def _paired(
    ones: Sequence[Any], others: Sequence[Any], figure: Callable[[Any, Any], float]
) -> Spread | None:
    return Spread.of(
        [
            figure(one, other)
            for one, other in zip(ones, others, strict=True)
            if one is not None and other is not None
        ]
    )


def _stages(floors: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    stages = ("decode", "prepare", "person", "blend", "encode")
    if not floors:
        return {}
    return {
        stage: round(statistics.median(one[f"{stage}_ms"] for one in floors), 3) for stage in stages
    }


def _at_least(found: Spread | None, wanted: float) -> bool | None:
    return None if found is None else found.median >= wanted


def _at_most(found: Spread | None, wanted: float) -> bool | None:
    return None if found is None else found.median <= wanted
