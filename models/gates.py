"""Makes the gates of squeeze-and-excitation blocks run in onnxruntime's blocked memory layout.

Used by `build` on graphs that `tflite_graph` made; `prelu` does the same for another operator.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` that computes the same, with every gate spread to its picture's size.

    A gate multiplies each channel of a picture by one number: [1, C, H, W] by [1, C, 1, 1].
    onnxruntime multiplies blocked (NCHWc) tensors only when their shapes are equal, so each gate
    costs a reorder to NCHW and another one back. Repeating the numbers over H x W first, by a
    nearest-neighbour Resize, which does have an NCHWc kernel, is cheaper than the two reorders.
    docs/models.md has what it gains.
    """
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    shapes = _shapes(model)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        sides = _sides(node, shapes)
        if sides is None:
            nodes.append(node)
            continue
        picture, gate = sides
        spread = f"{node.output[0]}_gate"
        factors = np.array([1, 1, *shapes[picture][2:]], np.float32)
        graph.initializer.append(numpy_helper.from_array(factors, f"{spread}_factors"))
        nodes.append(
            helper.make_node(
                "Resize",
                [gate, "", f"{spread}_factors"],
                [spread],
                name=spread,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        )
        nodes.append(helper.make_node("Mul", [picture, spread], node.output, name=node.name))
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(rewritten, full_check=True)
    return rewritten


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    inferred = shape_inference.infer_shapes(model, strict_mode=True)
    return {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*inferred.graph.input, *inferred.graph.value_info)
    }


def _sides(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> tuple[str, str] | None:
    """Names of the picture and of the gate that a node multiplies; None for any other node."""
    if node.op_type != "Mul" or any(len(shapes.get(name, ())) != 4 for name in node.input):
        return None
    first, second = node.input
    if shapes[first][2:] == (1, 1):
        first, second = second, first
    if shapes[second][2:] != (1, 1) or shapes[first][2:] == (1, 1):
        return None
    return first, second
