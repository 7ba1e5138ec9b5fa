"""A registry whose sessions have real peers, for tests of their lives."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from service.errors import ModelUnavailable, UnknownBackground
from service.frame.models import SERVED, Models
from service.frame.picture import Picture
from service.frame.pipeline import Pipeline
from service.policy.admission import Admission
from service.policy.cost import CostModel
from service.session.catalogue import ModelCatalogue
from service.session.registry import Registry
from service.session.sfu import SfuSettings
from service.session.spec import SessionSettings
from service.workers import Workers
from tests.rtc.counts import Counts
from tests.rtc.stand import peer_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from service.frame.logo import Logo
    from service.session.sfu import Exchanges

MODELS = Path(__file__).parents[2] / "models"


class OnePicture:
    """A library of one red picture, named `red`."""

    async def get(self, name: str) -> Picture:
        if name != "red":
            raise UnknownBackground(name)
        rgb = np.zeros((90, 160, 3), np.uint8)
        rgb[..., 0] = 200
        return Picture(rgb, "red")


class ShippedNetworks:
    """The networks that the service starts with, and no others."""

    def __init__(self) -> None:
        self.load_seconds = dict.fromkeys(SERVED, 0.01)

    def available(self) -> tuple[str, ...]:
        return SERVED

    def require(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in SERVED:
                raise ModelUnavailable(name)


class SessionCounts(Counts):
    """Counts of sessions as well."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Counter[str] = Counter()
        self.decisions: Counter[tuple[str, str]] = Counter()

    def session_ended(self, outcome: str, duration_s: float) -> None:
        assert duration_s >= 0
        self.ended[outcome] += 1

    def admission(self, decision: str, reason: str) -> None:
        self.decisions[decision, reason] += 1


@asynccontextmanager
async def registry(
    *,
    places: int = 4,
    idle_ttl_s: float = 30.0,
    connect_timeout_s: float = 10.0,
    end_after_s: float = 30.0,
    admission: Admission | None = None,
    logos: Mapping[str, Logo] | None = None,
    exchanges: Exchanges | None = None,
    sfu: SfuSettings | None = None,
) -> AsyncIterator[tuple[Registry, SessionCounts]]:
    """A registry with that many places, or this admission; drained at the end."""
    counts = SessionCounts()
    models = Models.load(MODELS)
    with Workers(lambda: 2.0, cpus=2) as workers:
        made = Registry(
            settings=SessionSettings(
                peer=peer_settings(
                    connect_timeout_s=connect_timeout_s,
                    suspend_after_s=min(6.0, end_after_s / 2),
                    end_after_s=end_after_s,
                ),
                idle_ttl_s=idle_ttl_s,
                logos=logos or {},
                sfu=sfu or SfuSettings(),
            ),
            admission=admission
            or Admission(
                quota_cores=float(places),
                cost=CostModel(1.0),
                max_sessions=places,
                planned_share=1.0,
            ),
            pictures=OnePicture(),
            models=ModelCatalogue(ShippedNetworks()),
            make_pipeline=lambda look, _spec: Pipeline(models, look),
            workers=workers,
            peer_counters=counts,
            counters=counts,
            exchanges=exchanges,
        )
        try:
            yield made, counts
        finally:
            await made.drain()
            assert made.sessions() == []
