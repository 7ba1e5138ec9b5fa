"""Which models an effect may name on this server: those whose networks are installed.

The models that the project ships are loaded when the service starts; others may lie beside them,
or not. Loading a network takes tens of milliseconds of CPU, so it is done in a thread. Sessions ask
before they take an effect; ``service.web`` lists the models.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from service.frame.person import networks_of
from service.policy.effects import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


class Networks(Protocol):
    """What service.frame.models offers; the methods are called in worker threads."""

    @property
    def load_seconds(self) -> Mapping[str, float]:
        """Every network that is loaded, and how long that took."""
        ...

    def require(self, names: Iterable[str]) -> None:
        """Loads what is not loaded yet; raises ModelUnavailable for what is not installed."""
        ...

    def available(self) -> Collection[str]:
        """The networks that are loaded or could be."""
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """One model, as GET /v1/models tells of it."""

    name: str
    missing: tuple[str, ...]
    "The networks to fetch before it can be used; none where it is installed."


class ModelCatalogue:
    """The models that effects may name, and which of them can be used here."""

    def __init__(
        self,
        networks: Networks,
        *,
        on_loaded: Callable[[str, float], None] = lambda _network, _seconds: None,
    ) -> None:
        """`on_loaded` is told of each network that `require` had to load, and of the time."""
        self._networks = networks
        self._on_loaded = on_loaded
        # A network that is loaded stays loaded, so this only grows, to len(MODELS) at most.
        self._ready: set[str] = set()
        # One at a time: sessions that begin together want the same one.
        self._loading = asyncio.Lock()

    async def require(self, model: str) -> None:
        """Returns when the model's networks are loaded, at once where they are already.

        Raises ModelUnavailable where one is not installed, ModelError where its file is damaged.
        """
        if model in self._ready:
            return
        async with self._loading:
            if model in self._ready:
                return
            before = set(self._networks.load_seconds)
            await asyncio.to_thread(self._networks.require, networks_of(model))
            for name in self._networks.load_seconds.keys() - before:
                self._on_loaded(name, self._networks.load_seconds[name])
            self._ready.add(model)

    async def list(self) -> tuple[Listed, ...]:
        """Every model, in the order of MODELS."""
        available = frozenset(await asyncio.to_thread(self._networks.available))
        return tuple(
            Listed(name, tuple(each for each in networks_of(name) if each not in available))
            for name in MODELS
        )
