"""What the nodes of a TensorFlow network give while `tfjs_graph` converts it.

A value is known already (an array), a tensor of the ONNX graph, or something that is not written
yet because what comes behind it may become part of it. Shapes are TensorFlow's, NHWC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx_graph import NHWC_AXIS_IN_NCHW, same_padding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tfjs_source import Node

Shape = tuple[int, ...]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the ONNX graph; of rank 4 it is NCHW there."""

    name: str
    shape: Shape
    """As TensorFlow has it: NHWC."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution that is not written yet, so that factors and biases behind it go into it."""

    source: str
    weights: NDArray[np.float32]
    """[out, in, h, w]"""
    bias: NDArray[np.float32] | None
    shape: Shape
    """Of the result, NHWC."""
    strides: Size
    dilations: Size
    pads: tuple[int, ...]
    group: int


@dataclass(frozen=True, slots=True)
class Batched:
    """A picture cut into a batch of smaller ones: how TensorFlow spells a dilated convolution."""

    picture: Tensor
    block: Size
    before: Size
    """Padding at the top and at the left."""
    shape: Shape
    """Of one picture of the batch, NHWC."""


class Dead:
    """What a branch that is not taken computes."""


Value = Any
"""NDArray (known here), Tensor, Convolution, Batched or Dead."""
DEAD = Dead()


def window_of(
    node: Node, source: Sequence[int], reach: Sequence[int], strides: Size
) -> tuple[Size, list[int]]:
    """Height and width of what a sliding window leaves, and ONNX's pads around the picture.

    reach: how many pixels the window spans along each axis, dilation included.
    """
    padding = node.attributes["padding"]
    if padding == "SAME":
        height, width = (-(-source[axis] // strides[axis]) for axis in range(2))
        return (height, width), same_padding(source, (height, width), reach, strides)
    if padding != "VALID":
        raise NotImplementedError(f"{node.name}: padding {padding}")
    height, width = ((source[axis] - reach[axis]) // strides[axis] + 1 for axis in range(2))
    return (height, width), [0, 0, 0, 0]


def pair(sizes: Sequence[int]) -> Size:
    """Height and width of four NHWC numbers."""
    return sizes[1], sizes[2]


def onnx_axis(axis: int, rank: int) -> int:
    return NHWC_AXIS_IN_NCHW[axis] if rank == 4 else axis


def is_known(value: Value) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def shape_of(value: Value) -> Shape:
    return tuple(np.shape(value)) if is_known(value) else tuple(value.shape)


def aligned(value: NDArray[Any], rank: int) -> NDArray[Any]:
    """A constant of NHWC as it takes part in NCHW arithmetic with a tensor of that rank."""
    values = np.asarray(value, np.float32)
    if rank != 4 or values.ndim == 0:
        return values
    return values.reshape((1,) * (4 - values.ndim) + values.shape).transpose(0, 3, 1, 2)
