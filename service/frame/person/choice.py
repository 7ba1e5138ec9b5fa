"""The models that an effect may name, and the networks that each of them needs."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from service.frame.person.bodypix import BodyPix
from service.frame.person.facemesh import FaceMesh
from service.frame.person.outline import Outline
from service.frame.person.posenet import PoseNet
from service.frame.person.rvm import Rvm
from service.frame.person.selfie import Selfie
from service.frame.person.source import FaceUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.frame.person.source import Networks, Source

SELFIE = ("selfie_landscape", "selfie_general")
FACES = ("blazeface_short",)

NETWORKS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hybrid": (*SELFIE, *FACES),
        "selfie": SELFIE,
        "blazeface": FACES,
        "facemesh": (*FACES, "facemesh"),
        "posenet": ("posenet",),
        "bodypix": ("bodypix",),
        "rvm": ("rvm",),
    }
)


def networks_of(model: str) -> tuple[str, ...]:
    """Names, as in the manifest, of the networks that an effect's model runs."""
    return NETWORKS[model]


def make_source(model: str, networks: Networks) -> Source:
    """A model for one track."""
    match model:
        case "hybrid":
            return Selfie(networks, FaceUse.SOMETIMES)
        case "selfie":
            return Selfie(networks, FaceUse.NEVER)
        case "blazeface":
            return Outline()
        case "facemesh":
            return FaceMesh(networks)
        case "posenet":
            return PoseNet(networks)
        case "bodypix":
            return BodyPix(networks)
        case "rvm":
            return Rvm(networks)
    raise ValueError(f"there is no model {model!r}")
