"""Collects the nodes and weights of an ONNX graph that takes a uint8 picture.

Shared by `tflite_graph` and `tfjs_graph`, which read networks of two frameworks that lay pictures
out as NHWC. Inside, a graph made here is NCHW; its picture is uint8 NHWC, and the normalisation of
the pixels is part of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

Attribute = int | float | str | Sequence[int]

IMAGE = "image"
"""What the picture's input is called in every graph."""
OPSET = 17
IR_VERSION = 8
"""The lowest pair that has every operator used here, so that older runtimes load the files too."""

NHWC_AXIS_IN_NCHW = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What the network expects of a pixel: `pixel * scale + offset`, pixel 0..255."""

    scale: float
    offset: float


ZERO_TO_ONE = Normalisation(scale=1 / 255, offset=0.0)
MINUS_ONE_TO_ONE = Normalisation(scale=1 / 127.5, offset=-1.0)


@dataclass(frozen=True, slots=True)
class Converted:
    """An ONNX model and what it holds."""

    model: onnx.ModelProto
    input_shape: tuple[int, ...]
    parameters: int
    mflops: float
    """Millions of floating-point operations of the convolutions; a multiply-add counts as two."""


class GraphWriter:
    """Nodes and weights so far, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.flops = 0
        """Of the convolutions and matrix products that the caller has counted."""
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        result: str | None = None,
        **attributes: Attribute,
    ) -> str:
        """Adds a node with one output; the output's name, which is also the node's."""
        name = result or f"{kind.lower()}_{len(self._nodes)}"
        self._add(kind, inputs, [name], name, attributes)
        return name

    def split(self, tensor: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Cuts a tensor along an axis (of the ONNX layout); the names of the parts."""
        name = f"split_{len(self._nodes)}"
        parts = [f"{name}_{number}" for number in range(len(sizes))]
        lengths = self.weight(np.array(sizes, np.int64))
        self._add("Split", [tensor, lengths], parts, name, {"axis": axis})
        return parts

    def weight(self, values: NDArray[Any] | np.float32) -> str:
        """Adds a constant; its name."""
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def normalised(self, image: str, normalisation: Normalisation) -> str:
        """The uint8 NHWC picture as floats in NCHW."""
        planes = self.node("Transpose", [image], perm=[0, 3, 1, 2])
        floats = self.node("Cast", [planes], to=TensorProto.FLOAT)
        scaled = self.node("Mul", [floats, self.weight(np.float32(normalisation.scale))])
        if normalisation.offset == 0:
            return scaled
        return self.node("Add", [scaled, self.weight(np.float32(normalisation.offset))])

    def reshaped(self, tensor: str, shape: Sequence[int], *, result: str | None = None) -> str:
        """The same values in another shape."""
        sizes = self.weight(np.array(shape, np.int64))
        return self.node("Reshape", [tensor, sizes], result=result)

    def finish(
        self,
        name: str,
        image_shape: Sequence[int],
        outputs: Sequence[tuple[str, Sequence[int]]],
        states: Sequence[tuple[str, Sequence[int]]] = (),
    ) -> Converted:
        """The checked model. outputs and states (further float inputs): names and shapes."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [
                helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, image_shape),
                *(_float_tensor(state, shape) for state, shape in states),
            ],
            [_float_tensor(output, shape) for output, shape in outputs],
            self._weights,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="backcloth",
        )
        onnx.checker.check_model(model, full_check=True)
        parameters = sum(
            math.prod(weight.dims)
            for weight in self._weights
            if weight.data_type == TensorProto.FLOAT and weight.dims
        )
        return Converted(model, tuple(image_shape), parameters, self.flops / 1e6)

    def _add(
        self,
        kind: str,
        inputs: Sequence[str],
        results: Sequence[str],
        name: str,
        attributes: dict[str, Any],
    ) -> None:
        node = helper.make_node(kind, list(inputs), list(results), name=name)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in sorted(attributes.items())
        )
        self._nodes.append(node)


def same_padding(
    source: Sequence[int],
    result: Sequence[int],
    size: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int] = (1, 1),
) -> list[int]:
    """ONNX pads [top, left, bottom, right] of TensorFlow's SAME: the odd pixel goes last.

    source and result: height and width of the picture before and after.
    """
    before, after = [], []
    for axis in range(2):
        reach = (result[axis] - 1) * strides[axis] + (size[axis] - 1) * dilations[axis] + 1
        total = max(reach - source[axis], 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before + after


def _float_tensor(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
