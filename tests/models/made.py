"""Small TensorFlow.js networks made by tests, and what TensorFlow computes of them, in NumPy.

A picture is the numbers 0..255 of a generator; `computed` runs the ONNX graph that comes of it.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnxruntime
from onnx_graph import Normalisation
from tfjs_graph import convert, read_model
from tfjs_recipe import Output, Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx_graph import Converted
    from tfjs_recipe import State

Floats = np.ndarray[Any, np.dtype[np.float32]]

PLAIN = Normalisation(scale=1.0, offset=0.0)
"""Pixels as they are, so that tests need not undo anything."""
GENERATOR_SEED = 11


def node(name: str, op: str, inputs: Sequence[str] = (), **attributes: Any) -> dict[str, Any]:
    """A node as model.json has it."""
    return {
        "name": name,
        "op": op,
        "input": list(inputs),
        "attr": {key: _attribute(value) for key, value in attributes.items()},
    }


def document(
    nodes: Sequence[dict[str, Any]], constants: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, Any], list[bytes]]:
    """model.json's content, with a Const node for each constant, and its one weight file."""
    known = [node(name, "Const") for name in constants]
    return {
        "modelTopology": {"node": [*nodes, *known]},
        "weightsManifest": [manifest_group(constants)],
    }, [b"".join(values.tobytes() for values in constants.values())]


def manifest_group(constants: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {
        "paths": ["group1-shard1of1.bin"],
        "weights": [
            {"name": name, "shape": list(values.shape), "dtype": str(values.dtype)}
            for name, values in constants.items()
        ],
    }


def random(*shape: int, seed: int = GENERATOR_SEED) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def picture(*shape: int, highest: int = 8) -> NDArray[np.uint8]:
    """A small-valued one by default, so that float32 sums stay exact enough to compare."""
    return np.random.default_rng(GENERATOR_SEED).integers(0, highest, shape, np.uint8)


def converted(
    nodes: Sequence[dict[str, Any]],
    constants: Mapping[str, NDArray[Any]],
    image_shape: tuple[int, ...],
    output: Output,
    *,
    states: tuple[State, ...] = (),
    inputs: tuple[tuple[str, float], ...] = (),
) -> Converted:
    """The conversion of nodes behind a placeholder called `image`.

    inputs: placeholders that have one value for good.
    """
    described, shards = document([node("image", "Placeholder"), *nodes], constants)
    # As text and back, which is how it comes.
    source = read_model(json.loads(json.dumps(described)), shards)
    recipe = Recipe(
        name="made",
        image="image",
        image_shape=image_shape,
        normalisation=PLAIN,
        outputs=(output,),
        states=states,
        constants=inputs,
    )
    return convert(source, recipe)


def computed(
    made: Converted, image: NDArray[np.uint8], **states: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The first output of the graph, for a picture without its batch axis."""
    session = onnxruntime.InferenceSession(
        made.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return cast("NDArray[np.float32]", session.run(None, {"image": image[np.newaxis], **states})[0])


def result_of(
    nodes: Sequence[dict[str, Any]],
    constants: Mapping[str, NDArray[Any]],
    image: NDArray[np.uint8],
    shape: tuple[int, ...],
    *,
    states: tuple[State, ...] = (),
    feeds: Mapping[str, NDArray[np.float32]] | None = None,
    inputs: tuple[tuple[str, float], ...] = (),
) -> NDArray[np.float32]:
    """What the ONNX graph gives for the node called `out`. shape: of its values in NCHW order."""
    made = converted(
        nodes,
        constants,
        (1, *image.shape),
        Output("out", "result", shape),
        states=states,
        inputs=inputs,
    )
    return computed(made, image, **(feeds or {}))


def convolved(
    image: NDArray[Any],
    kernel: Floats,
    *,
    strides: int = 1,
    dilations: int = 1,
    padding: str = "SAME",
    depthwise: bool = False,
) -> Floats:
    """TensorFlow's convolution, window by window: image H x W x C, kernel [h, w, in, out]."""
    height, width = kernel.shape[:2]
    reach = ((height - 1) * dilations + 1, (width - 1) * dilations + 1)
    size = image.shape[:2]
    if padding == "SAME":
        out = [math.ceil(size[axis] / strides) for axis in range(2)]
        total = [max((out[axis] - 1) * strides + reach[axis] - size[axis], 0) for axis in range(2)]
        widths = [(total[axis] // 2, total[axis] - total[axis] // 2) for axis in range(2)]
        image = np.pad(image, (*widths, (0, 0)))
    else:
        out = [(size[axis] - reach[axis]) // strides + 1 for axis in range(2)]
    channels = kernel.shape[2] * kernel.shape[3] if depthwise else kernel.shape[3]
    result = np.zeros((*out, channels), np.float32)
    for row in range(out[0]):
        for column in range(out[1]):
            top, left = row * strides, column * strides
            window = image[
                top : top + reach[0] : dilations, left : left + reach[1] : dilations
            ].astype(np.float32)
            result[row, column] = (
                np.einsum("hwc,hwcm->cm", window, kernel).ravel()
                if depthwise
                else np.einsum("hwc,hwco->o", window, kernel)
            )
    return result


def resized(image: Floats, height: int, width: int, *, half_pixel: bool) -> Floats:
    """TensorFlow's bilinear resize of H x W x C."""
    result = np.zeros((height, width, image.shape[2]), np.float32)
    for row in range(height):
        for column in range(width):
            y, x = (
                ((place + 0.5) * old / new - 0.5) if half_pixel else place * old / new
                for place, old, new in (
                    (row, image.shape[0], height),
                    (column, image.shape[1], width),
                )
            )
            result[row, column] = _between(image, y, x)
    return result


def nchw(image: NDArray[Any]) -> NDArray[Any]:
    """H x W x C as 1 x C x H x W."""
    return image.transpose(2, 0, 1)[np.newaxis]


def _between(image: Floats, y: float, x: float) -> NDArray[Any]:
    total = np.zeros(image.shape[2])
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            inside = (
                min(max(row, 0), image.shape[0] - 1),
                min(max(column, 0), image.shape[1] - 1),
            )
            total += weight * image[inside]
    return total


def _attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, float):
        return {"f": value}
    if isinstance(value, str):
        return {"type": value} if value.startswith("DT_") else {"s": _encoded(value)}
    if value and isinstance(value[0], str):
        return {"list": {"s": [_encoded(item) for item in value]}}
    return {"list": {"i": [str(item) for item in value]} if value else {}}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
