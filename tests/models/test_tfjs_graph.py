"""Converted TensorFlow.js networks compute what TensorFlow computes, operation by operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tfjs_recipe import Output, State

from tests.models.made import (
    computed,
    converted,
    convolved,
    nchw,
    node,
    picture,
    random,
    resized,
    result_of,
)


def four(height: int, width: int) -> list[int]:
    return [1, height, width, 1]


def conv(name: str, source: str, kernel: str, op: str = "Conv2D", **more: Any) -> dict[str, Any]:
    given = {"strides": four(1, 1), "dilations": four(1, 1), "padding": "SAME", **more}
    return node(name, op, [source, kernel], **given)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("strides", "dilations"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("depthwise", [False, True], ids=["plain", "depthwise"])
def test_convolutions(*, padding: str, strides: int, dilations: int, depthwise: bool) -> None:
    image, kernel = picture(8, 7, 3), random(3, 3, 3, 2)
    found = result_of(
        [
            conv(
                "out",
                "image",
                "kernel",
                "DepthwiseConv2dNative" if depthwise else "Conv2D",
                padding=padding,
                strides=four(strides, strides),
                dilations=four(dilations, dilations),
            )
        ],
        {"kernel": kernel},
        image,
        nchw(
            expected := convolved(
                image,
                kernel,
                padding=padding,
                strides=strides,
                dilations=dilations,
                depthwise=depthwise,
            )
        ).shape,
    )
    np.testing.assert_allclose(found, nchw(expected), rtol=1e-5, atol=1e-4)


def test_the_odd_pixel_of_same_padding_goes_last() -> None:
    """As in BlazeFace's even sizes; padding before would shift everything by a pixel."""
    image, kernel = picture(6, 6, 1), np.ones((3, 3, 1, 1), np.float32)
    found = result_of(
        [conv("out", "image", "kernel", strides=four(2, 2))],
        {"kernel": kernel},
        image,
        (1, 1, 3, 3),
    )
    assert found[0, 0, 0, 0] == image[:3, :3].sum()


def test_fused_bias_and_activation() -> None:
    image, kernel, bias = picture(4, 5, 3), random(1, 1, 3, 4), random(4, seed=2)
    fused = node(
        "out",
        "_FusedConv2D",
        ["image", "kernel", "bias"],
        strides=four(1, 1),
        padding="SAME",
        fused_ops=["BiasAdd", "Relu6"],
    )
    found = result_of([fused], {"kernel": kernel, "bias": bias}, image, (1, 4, 4, 5))
    expected = np.clip(convolved(image, kernel) + bias, 0, 6)
    assert (expected == 6).any()
    assert (expected == 0).any()
    np.testing.assert_allclose(found, nchw(expected), rtol=1e-5, atol=1e-4)


def test_batch_normalisation_goes_into_the_convolution() -> None:
    image, kernel = picture(5, 4, 3), random(3, 3, 3, 2)
    scale, offset = random(2, seed=3), random(2, seed=4)
    nodes = [
        conv("conv", "image", "kernel", "DepthwiseConv2dNative"),
        node("scaled", "Mul", ["conv", "scale"]),
        node("shifted", "AddV2", ["offset", "scaled"]),
        node("out", "Relu", ["shifted"]),
    ]
    constants = {"kernel": kernel, "scale": np.tile(scale, 3), "offset": np.tile(offset, 3)}
    made = converted(nodes, constants, (1, 5, 4, 3), Output("out", "result", (1, 6, 5, 4)))
    kinds = [item.op_type for item in made.model.graph.node]
    assert kinds == ["Transpose", "Cast", "Mul", "Conv", "Relu", "Reshape"]
    assert made.parameters == kernel.size + 6
    found = result_of(nodes, constants, image, (1, 6, 5, 4))
    plain = convolved(image, kernel, depthwise=True)
    expected = np.maximum(plain * constants["scale"] + constants["offset"], 0)
    np.testing.assert_allclose(found, nchw(expected), rtol=1e-5, atol=1e-4)


def test_a_convolution_that_others_use_too_stays_as_it_is() -> None:
    image, kernel = picture(4, 4, 1), random(3, 3, 1, 2)
    nodes = [
        conv("conv", "image", "kernel"),
        node("shifted", "AddV2", ["conv", "offset"]),
        node("out", "Mul", ["conv", "shifted"]),
    ]
    offset = np.array([3, -2], np.float32)
    found = result_of(nodes, {"kernel": kernel, "offset": offset}, image, (1, 2, 4, 4))
    plain = convolved(image, kernel)
    np.testing.assert_allclose(found, nchw(plain * (plain + offset)), rtol=1e-5, atol=1e-4)
    made = converted(
        nodes,
        {"kernel": kernel, "offset": offset},
        (1, 4, 4, 1),
        Output("out", "result", (1, 2, 4, 4)),
    )
    assert [item.op_type for item in made.model.graph.node].count("Conv") == 1, "written once"


def test_a_batch_of_smaller_pictures_is_a_dilated_convolution() -> None:
    """SpaceToBatchND, a VALID convolution, BatchToSpaceND: here with dilation 2 and SAME."""
    image, kernel = picture(7, 6, 2), random(3, 3, 2, 1)
    nodes = [
        node("cut", "SpaceToBatchND", ["image", "block", "pads"]),
        conv("conv", "cut", "kernel", "DepthwiseConv2dNative", padding="VALID"),
        node("out", "BatchToSpaceND", ["conv", "block", "crops"]),
    ]
    constants = {
        "kernel": kernel,
        "block": np.array([2, 2], np.int32),
        "pads": np.array([[2, 3], [2, 2]], np.int32),
        "crops": np.array([[0, 1], [0, 0]], np.int32),
    }
    found = result_of(nodes, constants, image, (1, 2, 7, 6))
    expected = convolved(image, kernel, dilations=2, depthwise=True)
    np.testing.assert_allclose(found, nchw(expected), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["AddV2", "Sub", "Mul", "Minimum", "Maximum"])
@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 3), (1, 4, 5, 3), (4, 1, 1)])
def test_arithmetic_with_constants(kind: str, shape: tuple[int, ...]) -> None:
    image, constant = picture(4, 5, 3), np.asarray(random(*shape), np.float32) * 3
    found = result_of([node("out", kind, ["image", "c"])], {"c": constant}, image, (1, 3, 4, 5))
    numpy_kind = {"AddV2": "add", "Sub": "subtract", "Mul": "multiply"}.get(kind, kind.lower())
    expected = getattr(np, numpy_kind)(image[np.newaxis].astype(np.float32), constant)
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), rtol=1e-6)


def test_a_constant_may_stand_first() -> None:
    image = picture(2, 2, 3)
    constant = np.array([1, 2, 3], np.float32)
    found = result_of([node("out", "Sub", ["c", "image"])], {"c": constant}, image, (1, 3, 2, 2))
    np.testing.assert_array_equal(found, nchw(constant - image.astype(np.float32)))


@pytest.mark.parametrize("half_pixel", [False, True])
def test_bilinear_resize(*, half_pixel: bool) -> None:
    image = picture(3, 4, 2)
    found = result_of(
        [node("out", "ResizeBilinear", ["image", "size"], half_pixel_centers=half_pixel)],
        {"size": np.array([6, 8], np.int32)},
        image,
        (1, 2, 6, 8),
    )
    expected = resized(image.astype(np.float32), 6, 8, half_pixel=half_pixel)
    np.testing.assert_allclose(found, nchw(expected), atol=1e-5)


def test_pools_and_means() -> None:
    image = picture(4, 6, 3)
    halved = result_of(
        [node("out", "AvgPool", ["image"], ksize=four(2, 2), strides=four(2, 2), padding="SAME")],
        {},
        image,
        (1, 3, 2, 3),
    )
    expected = image.reshape(2, 2, 3, 2, 3).mean((1, 3), np.float32)
    np.testing.assert_allclose(halved, nchw(expected), rtol=1e-6)
    axes = {"axes": np.array([1, 2], np.int32)}
    for keep, shape in ((True, (1, 3, 1, 1)), (False, (1, 3))):
        mean = result_of(
            [node("out", "Mean", ["image", "axes"], keep_dims=keep)], axes, image, shape
        )
        np.testing.assert_allclose(mean.ravel(), image.mean((0, 1)), rtol=1e-6)


def test_slices_splits_and_concatenations() -> None:
    image = picture(4, 6, 3)
    nodes = [
        node("parts", "SplitV", ["image", "sizes", "axis"], num_split=2),
        node("rows", "Slice", ["parts:1", "begin", "size"]),
        node(
            "columns", "StridedSlice", ["rows", "low", "high", "step"], begin_mask=11, end_mask=11
        ),
        node("out", "ConcatV2", ["columns", "columns", "axis"]),
    ]
    constants = {
        "sizes": np.array([1, -1], np.int32),
        "axis": np.array(3, np.int32),
        "begin": np.array([0, 1, 0, 0], np.int32),
        "size": np.array([-1, 2, -1, -1], np.int32),
        "low": np.array([0, 0, 1, 0], np.int32),
        "high": np.array([0, 0, 5, 0], np.int32),
        "step": np.array([1, 1, 2, 1], np.int32),
    }
    found = result_of(nodes, constants, image, (1, 4, 2, 2))
    part = image[1:3, 1:5:2, 1:]
    np.testing.assert_array_equal(found, nchw(np.concatenate([part, part], 2)))


def test_padding_flattening_and_matrix_product() -> None:
    image, matrix = picture(2, 3, 2), random(20, 4)
    nodes = [
        node("padded", "Pad", ["image", "widths"]),
        node("flat", "Reshape", ["padded", "shape"]),
        node("out", "MatMul", ["flat", "matrix"]),
    ]
    constants = {
        "widths": np.array([[0, 0], [0, 0], [1, 1], [0, 0]], np.int32),
        "shape": np.array([1, -1], np.int32),
        "matrix": matrix,
    }
    found = result_of(nodes, constants, image, (1, 4))
    flat = np.pad(image, ((0, 0), (1, 1), (0, 0))).astype(np.float32).ravel()
    np.testing.assert_allclose(found[0], flat @ matrix, rtol=1e-5)


def test_a_condition_of_constants_chooses_a_branch() -> None:
    """Sizes are computed here, and what stands on the branch that is not taken is not converted."""
    nodes = [
        node("ratio", "Placeholder"),
        node("whole", "Equal", ["ratio", "one"]),
        node("switch", "Switch", ["image", "whole"]),
        node("then", "Identity", ["switch:1"]),
        node("else", "Unheard", ["switch"]),
        node("merge", "Merge", ["else", "then"]),
        node("shape", "Shape", ["merge"]),
        node("height", "StridedSlice", ["shape", "at", "to", "by"], shrink_axis_mask=1),
        node("low", "Pack", ["zero", "height"], axis=0),
        node("as_float", "Cast", ["low"], DstT="DT_FLOAT"),
        node("bound", "StridedSlice", ["as_float", "at", "to", "by"], shrink_axis_mask=1),
        node("out", "AddV2", ["merge", "bound"]),
    ]
    constants = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.int32),
        "at": np.array([1], np.int32),
        "to": np.array([2], np.int32),
        "by": np.array([1], np.int32),
    }
    image = picture(5, 2, 3)
    found = result_of(nodes, constants, image, (1, 3, 5, 2), inputs=(("ratio", 1.0),))
    np.testing.assert_array_equal(found, nchw(image.astype(np.float32) + 5))


def test_states_are_inputs_in_nchw() -> None:
    image, state = picture(4, 6, 2), random(1, 2, 4, 6)
    found = result_of(
        [node("before", "Placeholder"), node("out", "AddV2", ["image", "before"])],
        {},
        image,
        (1, 2, 4, 6),
        states=(State("before", "memory", (1, 2, 4, 6)),),
        feeds={"memory": state},
    )
    np.testing.assert_allclose(found, nchw(image.astype(np.float32)) + state, rtol=1e-6)


def test_a_sigmoid_and_another_shape_for_an_output() -> None:
    image = picture(2, 3, 4)
    made = converted(
        [node("out", "Identity", ["image"])],
        {},
        (1, 2, 3, 4),
        Output("out", "result", (1, 2, 2, 2, 3), sigmoid=True),
    )
    expected = 1 / (1 + np.exp(-image.astype(np.float64).transpose(2, 0, 1)))
    np.testing.assert_allclose(computed(made, image)[0].reshape(4, 2, 3), expected, rtol=1e-5)


def test_unknown_operations_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"operation Unheard \(out\)"):
        result_of([node("out", "Unheard", ["image"])], {}, picture(2, 2, 3), (1, 3, 2, 2))
    with pytest.raises(ValueError, match=r"output result has \(1, 2, 2, 3\), not \(1, 4\)"):
        result_of([node("out", "Identity", ["image"])], {}, picture(2, 2, 3), (1, 4))
    with pytest.raises(ValueError, match="no node 'elsewhere'"):
        result_of([node("out", "Identity", ["elsewhere"])], {}, picture(2, 2, 3), (1, 4))
    circle = [node("out", "Relu", ["other"]), node("other", "Relu", ["out"])]
    with pytest.raises(ValueError, match="back to itself"):
        result_of(circle, {}, picture(2, 2, 3), (1, 4))
