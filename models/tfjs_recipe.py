"""What is made of a TensorFlow.js network: which picture goes in and what comes out, by name.

`fetch` writes recipes from fetchable.toml; `tfjs_graph` follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_graph import Normalisation

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """An output of the ONNX graph."""

    source: str
    """TensorFlow's node, or `NODE:2`."""
    name: str
    shape: Shape
    """Its values in NCHW order, grouped as one likes."""
    sigmoid: bool = False
    """Whether a sigmoid is put behind it, which makes a probability of a logit."""


@dataclass(frozen=True, slots=True)
class State:
    """A further input of the ONNX graph, which carries an output of the run before."""

    source: str
    name: str
    shape: Shape
    """NCHW."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is made of a network."""

    name: str
    image: str
    """The placeholder of the picture."""
    image_shape: Shape
    """NHWC."""
    normalisation: Normalisation
    outputs: tuple[Output, ...]
    states: tuple[State, ...] = ()
    constants: tuple[tuple[str, float], ...] = ()
    """Placeholders that get a value for good."""
