"""Replaces PReLU by operators that onnxruntime keeps in its blocked memory layout.

Used by `build` on graphs that `tflite_graph` made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` without PRelu nodes that computes the same.

    onnxruntime runs convolutions in the blocked NCHWc layout, which is where most of its speed on
    these networks comes from, but it has no NCHWc kernel for PRelu: every PRelu forces a reorder
    to NCHW and back. With one slope a channel,

        prelu(x) = slope * x + (1 - slope) * relu(x)

    and a multiplication by a number a channel is a depthwise 1x1 convolution, which does have an
    NCHWc kernel; the addition is fused into the second one. docs/models.md has what it gains.
    """
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    slopes = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "PRelu":
            replacement, weights = _two_convolutions(node, slopes[node.input[1]])
            nodes.extend(replacement)
            graph.initializer.extend(weights)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(rewritten)
    return rewritten


def _two_convolutions(
    node: onnx.NodeProto, slope: NDArray[np.float32]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    source, result = node.input[0], node.output[0]
    channels = slope.size
    per_channel = slope.astype(np.float32).reshape(channels, 1, 1, 1)
    linear, positive = f"{result}_linear", f"{result}_positive"
    weights = [
        numpy_helper.from_array(per_channel, f"{linear}_weight"),
        numpy_helper.from_array(np.float32(1) - per_channel, f"{positive}_weight"),
    ]
    nodes = [
        helper.make_node("Relu", [source], [f"{result}_relu"], name=f"{result}_relu"),
        _scale(source, linear, channels),
        _scale(f"{result}_relu", positive, channels),
        helper.make_node("Add", [positive, linear], [result], name=f"{result}_sum"),
    ]
    return nodes, weights


def _scale(source: str, result: str, channels: int) -> onnx.NodeProto:
    return helper.make_node(
        "Conv",
        [source, f"{result}_weight"],
        [result],
        name=result,
        group=channels,
        kernel_shape=[1, 1],
    )
