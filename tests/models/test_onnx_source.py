"""A network gives the same file whichever form it comes in, and its weights the same digest."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from content import content_of
from onnx import TensorProto, helper, numpy_helper
from onnx_graph import MINUS_ONE_TO_ONE, Converted
from onnx_source import read_chain
from tfjs_graph import convert, read_model
from tfjs_recipe import Output, Recipe

from tests.models.made import Floats, document, node, random

RECIPE = Recipe(
    name="chain",
    image="sub_2",
    image_shape=(1, 8, 6, 3),
    normalisation=MINUS_ONE_TO_ONE,
    outputs=(Output("float_segments", "segments", (1, 4, 3)),),
)
SCALE = np.array([2.0, -0.3, 1.7], np.float32)
WEIGHTS = {
    "depth": random(3, 3, 3, 1),
    "depth_bias": random(3, seed=2),
    "point": random(1, 1, 3, 1, seed=3),
    "point_bias": random(1, seed=4),
}


def as_onnx(weights: dict[str, Floats], *, auto_pad: str = "SAME_UPPER") -> onnx.ModelProto:
    """The chain as converters leave it: layout at both ends, SAME by name."""
    nodes = [
        helper.make_node("Transpose", ["input"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "Conv",
            ["planes", "depth", "depth_bias"],
            ["a"],
            name="first",
            group=3,
            strides=[2, 2],
            auto_pad=auto_pad,
        ),
        helper.make_node("Clip", ["a"], ["b"], name="clip", min=0.0, max=6.0),
        helper.make_node(
            "Conv",
            ["b", "point", "point_bias"],
            ["c"],
            name="float_segments",
            strides=[1, 1],
            auto_pad="SAME_UPPER",
        ),
        helper.make_node("Reshape", ["c", "shape"], ["segments"]),
    ]
    stored = {
        "depth": weights["depth"].transpose(2, 3, 0, 1),
        "depth_bias": weights["depth_bias"],
        "point": weights["point"].transpose(3, 2, 0, 1),
        "point_bias": weights["point_bias"],
        "shape": np.array([1, 4, 3, 1]),
    }
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 8, 6, 3])],
        [helper.make_tensor_value_info("segments", TensorProto.FLOAT, [1, 4, 3, 1])],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)])


def from_onnx(model: onnx.ModelProto) -> Converted:
    source = read_chain(model.SerializeToString(), image="sub_2", result="float_segments")
    return convert(source, RECIPE)


def from_tfjs(weights: dict[str, Floats], *, normalised: bool) -> Converted:
    """The same network in TensorFlow.js' form; batch normalisation folded already, or not."""
    given: dict[str, Any] = {"strides": [1, 2, 2, 1], "padding": "SAME"}
    constants = dict(weights)
    nodes = [node("sub_2", "Placeholder")]
    if normalised:
        # Powers of two, so that taking the factor out and putting it in again is exact.
        factor = np.array([2, 0.5, 4], np.float32)
        constants["depth"] = weights["depth"] / factor.reshape(1, 1, 3, 1)
        constants["factor"] = factor
        nodes += [
            node("conv", "DepthwiseConv2dNative", ["sub_2", "depth"], **given),
            node("scaled", "Mul", ["conv", "factor"]),
            node("sum", "Add", ["scaled", "depth_bias"]),
            node("relu", "Relu6", ["sum"]),
        ]
    else:
        fused = ["BiasAdd", "Relu6"]
        source = ["sub_2", "depth", "depth_bias"]
        nodes.append(node("relu", "FusedDepthwiseConv2dNative", source, fused_ops=fused, **given))
    nodes += [
        node("point_conv", "Conv2D", ["relu", "point"], strides=[1, 1, 1, 1], padding="SAME"),
        node("float_segments", "BiasAdd", ["point_conv", "point_bias"]),
    ]
    return convert(read_model(*document(nodes, constants)), RECIPE)


def test_both_forms_make_the_same_file() -> None:
    expected = from_onnx(as_onnx(WEIGHTS))
    for normalised in (False, True):
        made = from_tfjs(WEIGHTS, normalised=normalised)
        assert made.model.SerializeToString() == expected.model.SerializeToString()
        assert content_of(made.model) == content_of(expected.model)


def test_the_digest_tells_every_weight() -> None:
    known = content_of(from_onnx(as_onnx(WEIGHTS)).model)
    for name, values in WEIGHTS.items():
        changed = values.copy()
        changed.ravel()[-1] += 0.01
        content = content_of(from_onnx(as_onnx(WEIGHTS | {name: changed})).model)
        assert content.sha256 != known.sha256
        assert not content.is_close(known.norm)


def test_rounding_is_told_from_other_weights() -> None:
    known = content_of(from_onnx(as_onnx(WEIGHTS)).model)
    rounded = WEIGHTS | {"depth": np.nextafter(WEIGHTS["depth"], np.float32(9))}
    content = content_of(from_onnx(as_onnx(rounded)).model)
    assert content.sha256 != known.sha256
    assert content.is_close(known.norm)


def test_other_graphs_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="first: padding other than"):
        from_onnx(as_onnx(WEIGHTS, auto_pad="VALID"))
    model = as_onnx(WEIGHTS)
    model.graph.node[2].op_type = "Softmax"
    with pytest.raises(NotImplementedError, match=r"Softmax \(clip\) in a chain"):
        from_onnx(model)
    model = as_onnx(WEIGHTS)
    next(item for item in model.graph.node[2].attribute if item.name == "max").f = 5
    with pytest.raises(NotImplementedError, match=r"clip: clipped to \[0\.0, 5\.0\]"):
        from_onnx(model)
    with pytest.raises(ValueError, match="not an ONNX file"):
        read_chain(b"\xff" * 40, image="a", result="b")
