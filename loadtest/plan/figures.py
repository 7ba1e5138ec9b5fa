"""What a stream costs, from figures.toml, and what follows for a pod. Pure but for `read`."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("figures.toml")
ESTIMATED: Final = "estimated"
FPS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of session: a camera, with audio."""

    name: str
    ms_cpu_per_frame: float
    cpu_source: str
    """A section of docs/performance.md, or ESTIMATED; so the others."""
    mb: float
    memory_source: str
    out_kbit_s: float
    """Video out of the service, headers left out; so `in_kbit_s`."""
    out_source: str
    in_kbit_s: float
    in_source: str

    @property
    def cores(self) -> float:
        return self.ms_cpu_per_frame * FPS / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All inputs."""

    pod_cores: float
    planned_share: float
    process_mb: float
    process_source: str
    audio_kbit_s: float
    audio_source: str
    overhead: float
    overhead_source: str
    streams: tuple[Stream, ...]

    def slots(self, stream: Stream) -> int:
        """Sessions that a pod takes; one always fits."""
        return max(1, math.floor(self.planned_share * self.pod_cores / stream.cores + 1e-9))

    def pod_mb(self, stream: Stream) -> float:
        """Resident memory of a full pod."""
        return self.process_mb + self.slots(stream) * stream.mb

    def mbit_s(self, stream: Stream, *, out: bool) -> float:
        """Of one session, on the wire."""
        video = stream.out_kbit_s if out else stream.in_kbit_s
        return (video + self.audio_kbit_s) * (1 + self.overhead) / 1000

    @property
    def estimated(self) -> tuple[str, ...]:
        """What of it was not measured."""
        named = [("audio's bitrate", self.audio_source), ("headers", self.overhead_source)]
        named += [("memory of the process", self.process_source)]
        for one in self.streams:
            named += [
                (f"CPU of {one.name}", one.cpu_source),
                (f"memory of {one.name}", one.memory_source),
                (f"bitrate out of {one.name}", one.out_source),
                (f"bitrate in of {one.name}", one.in_source),
            ]
        return tuple(what for what, source in named if source == ESTIMATED)

    @property
    def measured(self) -> tuple[str, ...]:
        """The sections of docs/performance.md that the rest is from."""
        sources = [self.process_source, self.audio_source, self.overhead_source]
        for one in self.streams:
            sources += [one.cpu_source, one.memory_source, one.out_source, one.in_source]
        return tuple(dict.fromkeys(one for one in sources if one != ESTIMATED))


def read(path: Path = FILE) -> Figures:
    """Raises ValueError where a figure is missing, of the wrong kind, or out of range."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        pod, audio, packets = found["pod"], found["audio"], found["packets"]
        figures = Figures(
            pod_cores=_positive(pod, "cores"),
            planned_share=_positive(pod, "planned_share"),
            process_mb=_positive(pod, "process_mb"),
            process_source=str(pod["process_source"]),
            audio_kbit_s=_positive(audio, "kbit_s"),
            audio_source=str(audio["source"]),
            overhead=_positive(packets, "overhead"),
            overhead_source=str(packets["source"]),
            streams=tuple(_stream(name, one) for name, one in found["stream"].items()),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{path.name}: {exc!r} is missing or of the wrong kind") from exc
    if not figures.streams:
        raise ValueError(f"{path.name}: no stream")
    return figures


def _stream(name: str, found: dict[str, Any]) -> Stream:
    return Stream(
        name=name,
        ms_cpu_per_frame=_positive(found, "ms_cpu_per_frame"),
        cpu_source=str(found["cpu_source"]),
        mb=_positive(found, "mb"),
        memory_source=str(found["memory_source"]),
        out_kbit_s=_positive(found, "out_kbit_s"),
        out_source=str(found["out_source"]),
        in_kbit_s=_positive(found, "in_kbit_s"),
        in_source=str(found["in_source"]),
    )


def _positive(found: dict[str, Any], key: str) -> float:
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError(f"{key}: {value!r} is not a positive number")
    return float(value)
