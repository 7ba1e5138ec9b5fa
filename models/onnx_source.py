"""Reads a chain of convolutions from an ONNX file as the TensorFlow network that it was made of.

BodyPix goes around in this form too. `tfjs_graph` makes the same graph of it as of its authors'
own files, byte for byte, so it does not matter which of them an operator has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper
from tfjs_source import Node, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LARGEST_RELU6 = 6.0


def read_chain(data: bytes, *, image: str, result: str) -> Source:
    """An ONNX file's graph, one node behind the other.

    image and result: what the picture and the last node are called in the TensorFlow network.
    Raises ValueError when it is no ONNX file, NotImplementedError when it is no such chain.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own exceptions differ between its versions
        raise ValueError(f"not an ONNX file: {error}") from error
    return _Chain(model.graph).run(image, result)


class _Chain:
    """The nodes so far; each takes what the one before it gives."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self._nodes: dict[str, Node] = {}
        self._weights: dict[str, NDArray[Any]] = {}
        self._emitters: dict[str, Callable[[onnx.NodeProto, str], str]] = {
            "Clip": self._clip,
            "Conv": self._convolution,
            "Relu": self._relu,
            "Reshape": self._skip,
            "Transpose": self._skip,
        }

    def run(self, image: str, result: str) -> Source:
        (source,) = (item.name for item in self._graph.input if item.name not in self._constants)
        last = self._add(image, "Placeholder", ())
        for node in self._graph.node:
            if node.op_type not in self._emitters or node.input[0] != source:
                raise NotImplementedError(
                    f"{node.op_type} ({node.name}) in a chain of convolutions"
                )
            last = self._emitters[node.op_type](node, last)
            (source,) = node.output
        if last != result:
            self._add(result, "Identity", (last,))
        return Source(self._nodes, self._weights)

    def _convolution(self, node: onnx.NodeProto, source: str) -> str:
        given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if given.get("auto_pad") != b"SAME_UPPER":
            raise NotImplementedError(f"{node.name}: padding other than TensorFlow's SAME")
        weights = self._constants[node.input[1]]
        depthwise = given.get("group", 1) > 1
        # ONNX has [out, in, h, w]; TensorFlow [h, w, in, out], or [h, w, in, 1] where depthwise.
        kernel = weights.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        biased = len(node.input) > 2
        result = self._add(
            f"{node.name}/Conv2D" if biased else node.name,
            "DepthwiseConv2dNative" if depthwise else "Conv2D",
            (source, self._constant(f"{node.name}/weights", kernel)),
            strides=[1, *given["strides"], 1],
            dilations=[1, *given.get("dilations", (1, 1)), 1],
            padding="SAME",
        )
        if not biased:
            return result
        bias = self._constant(f"{node.name}/bias", self._constants[node.input[2]])
        return self._add(node.name, "BiasAdd", (result, bias))

    def _clip(self, node: onnx.NodeProto, source: str) -> str:
        given = {item.name: item.f for item in node.attribute}
        bounds = [float(self._constants[name]) for name in node.input[1:]]
        bounds = bounds or [given.get("min", -np.inf), given.get("max", np.inf)]
        if bounds != [0.0, LARGEST_RELU6]:
            raise NotImplementedError(f"{node.name}: clipped to {bounds}")
        return self._add(node.name, "Relu6", (source,))

    def _relu(self, node: onnx.NodeProto, source: str) -> str:
        return self._add(node.name, "Relu", (source,))

    def _skip(self, _: onnx.NodeProto, source: str) -> str:
        """Layout only, which is written anew."""
        return source

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._weights[name] = values
        return self._add(name, "Const", ())

    def _add(
        self,
        name: str,
        kind: str,
        inputs: tuple[str, ...],
        **attributes: Any,  # noqa: ANN401  as many types as attributes
    ) -> str:
        if name in self._nodes:
            raise NotImplementedError(f"two nodes of the name {name!r}")
        self._nodes[name] = Node(name, kind, inputs, attributes)
        return name
