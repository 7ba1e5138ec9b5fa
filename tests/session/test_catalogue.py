"""Which models can be used, and that each is loaded once and off the loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.errors import ModelUnavailable
from service.frame.models import SERVED, Models
from service.frame.person import networks_of
from service.policy.effects import MODELS
from service.session.catalogue import ModelCatalogue

if TYPE_CHECKING:
    from collections.abc import Iterable

DIRECTORY = Path(__file__).parents[2] / "models"


class Networks:
    """Some networks, which take a while to load."""

    def __init__(self, *names: str) -> None:
        self.load_seconds: dict[str, float] = {}
        self.loads: list[tuple[str, ...]] = []
        self.threads: set[int] = set()
        self._names = names

    def available(self) -> tuple[str, ...]:
        self.threads.add(threading.get_ident())
        return self._names

    def require(self, names: Iterable[str]) -> None:
        self.threads.add(threading.get_ident())
        self.loads.append(tuple(names))
        for name in self.loads[-1]:
            if name not in self._names:
                raise ModelUnavailable(name)
            self.load_seconds[name] = 0.25


async def test_a_model_is_loaded_once_by_many_who_want_it_at_once() -> None:
    networks = Networks("rvm")
    loaded: list[tuple[str, float]] = []
    catalogue = ModelCatalogue(networks, on_loaded=lambda *each: loaded.append(each))
    await asyncio.gather(*(catalogue.require("rvm") for _ in range(20)))
    assert networks.loads == [networks_of("rvm")]
    assert loaded == [("rvm", 0.25)]
    assert threading.get_ident() not in networks.threads


async def test_one_that_is_loaded_is_there_at_once() -> None:
    catalogue = ModelCatalogue(Networks("rvm"))
    await catalogue.require("rvm")
    with pytest.raises(StopIteration):  # nothing is waited for
        catalogue.require("rvm").send(None)


async def test_one_that_is_not_installed_may_be_fetched_later() -> None:
    networks = Networks()
    catalogue = ModelCatalogue(networks)
    with pytest.raises(ModelUnavailable, match="models fetch rvm") as raised:
        await catalogue.require("rvm")
    assert raised.value.model == "rvm"
    networks._names = ("rvm",)
    await catalogue.require("rvm")


async def test_the_list() -> None:
    networks = Networks("selfie_landscape", "selfie_general", "blazeface_short")
    listed = {one.name: one.missing for one in await ModelCatalogue(networks).list()}
    assert tuple(listed) == MODELS
    assert listed["hybrid"] == listed["selfie"] == listed["blazeface"] == ()
    assert listed["facemesh"] == ("facemesh",)
    assert listed["rvm"] == ("rvm",)
    assert threading.get_ident() not in networks.threads


@pytest.mark.model
async def test_the_service_starts_with_what_the_default_needs() -> None:
    loaded: list[tuple[str, float]] = []
    catalogue = ModelCatalogue(Models.load(DIRECTORY), on_loaded=lambda *each: loaded.append(each))
    await catalogue.require("hybrid")
    assert loaded == []
    assert {one.name for one in await catalogue.list() if not one.missing} >= {"hybrid", "selfie"}
    assert set(networks_of("hybrid")) <= set(SERVED)
