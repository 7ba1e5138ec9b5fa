"""Every model that an effect may name can be made, from the networks that it is said to need."""

from __future__ import annotations

import pytest

from service.frame.person import NETWORKS, FaceUse, make_source, networks_of
from service.policy.effects import MODELS
from tests.frame.person.made import SaysFaces, blank


class Lent:
    """Networks that note who was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> SaysFaces:
        self.asked.add(name)
        return SaysFaces()


def test_the_effects_models_are_these() -> None:
    assert set(NETWORKS) == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_takes_no_network_that_it_does_not_name(model: str) -> None:
    networks = Lent()
    source = make_source(model, networks)
    source.reset()
    assert networks.asked <= set(networks_of(model))
    assert source.input_aspect(blank()) > 0
    if source.faces is not FaceUse.NEVER:
        assert "blazeface_short" in networks_of(model)


def test_another_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no model 'yolo'"):
        make_source("yolo", Lent())
