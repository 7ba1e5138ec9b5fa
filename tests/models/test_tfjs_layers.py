"""A Keras description converts to what its layers compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tfjs_graph import convert, read_model
from tfjs_recipe import Output, Recipe

from tests.models.made import PLAIN, computed, convolved, manifest_group, nchw, picture, random

if TYPE_CHECKING:
    from onnx_graph import Converted

HEIGHT, WIDTH = 6, 5


def layer(kind: str, name: str, *sources: str, **config: Any) -> dict[str, Any]:
    calls = [[[source, 0, 0, {}] for source in sources]] if sources else []
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": calls}


def convolution(kind: str, name: str, source: str, **config: Any) -> dict[str, Any]:
    plain = {
        "strides": [1, 1],
        "dilation_rate": [1, 1],
        "padding": "same",
        "use_bias": False,
        "activation": "linear",
    }
    return layer(kind, name, source, **(plain | config))


def made(
    layers: list[dict[str, Any]], weights: dict[str, np.ndarray[Any, Any]], output: Output
) -> Converted:
    image = layer("InputLayer", "picture", batch_input_shape=[None, HEIGHT, WIDTH, 3])
    described = {
        "modelTopology": {"model_config": {"config": {"layers": [image, *layers]}}},
        "weightsManifest": [manifest_group(weights)],
    }
    source = read_model(described, [b"".join(values.tobytes() for values in weights.values())])
    return convert(source, Recipe("made", "picture", (1, HEIGHT, WIDTH, 3), PLAIN, (output,)))


def test_a_residual_block() -> None:
    kernel, gamma, beta, mean = random(3, 3, 3, 1), *(random(3, seed=seed) for seed in (2, 3, 4))
    variance = np.abs(random(3, seed=5)) + 0.5
    weights: dict[str, np.ndarray[Any, Any]] = {
        "depth/depthwise_kernel": kernel,
        "bn/gamma": gamma,
        "bn/beta": beta,
        "bn/moving_mean": mean,
        "bn/moving_variance": variance,
    }
    layers = [
        layer("ZeroPadding2D", "pad", "picture", padding=[[0, 1], [1, 0]]),
        convolution("DepthwiseConv2D", "depth", "pad", depth_multiplier=1, strides=[2, 2]),
        layer("BatchNormalization", "bn", "depth", epsilon=0.001),
        layer("ReLU", "relu", "bn", max_value=6, negative_slope=0, threshold=0),
        layer("Dropout", "dropped", "relu", rate=0.5),
        layer("Add", "sum", "dropped", "bn"),
    ]
    image = picture(HEIGHT, WIDTH, 3)
    padded = np.pad(image, ((0, 1), (1, 0), (0, 0)))
    plain = convolved(padded, kernel, strides=2, depthwise=True)
    normal = (plain - mean) / np.sqrt(variance + 0.001) * gamma + beta
    expected = np.clip(normal, 0, 6) + normal
    output = Output("sum", "result", nchw(expected).shape)
    found = computed(made(layers, weights, output), image)
    np.testing.assert_allclose(found, nchw(expected), rtol=1e-4, atol=1e-4)


def test_the_end_of_a_classifier() -> None:
    weights = {
        "conv/kernel": random(1, 1, 3, 4),
        "conv/bias": random(4, seed=2),
        "dense/kernel": random(4, 2, seed=3),
        "dense/bias": random(2, seed=4),
    }
    layers = [
        convolution("Conv2D", "conv", "picture", use_bias=True, activation="relu", padding="valid"),
        layer(
            "AveragePooling2D",
            "pool",
            "conv",
            pool_size=[HEIGHT, WIDTH],
            strides=[HEIGHT, WIDTH],
            padding="valid",
        ),
        layer("Flatten", "flat", "pool"),
        layer("Dense", "dense", "flat", use_bias=True, activation="softmax"),
    ]
    image = picture(HEIGHT, WIDTH, 3)
    hidden = np.maximum(convolved(image, weights["conv/kernel"]) + weights["conv/bias"], 0)
    expected = hidden.mean((0, 1)) @ weights["dense/kernel"] + weights["dense/bias"]
    # The logits have a name too, and softmax, which is not converted, stands behind them.
    found = computed(made(layers, weights, Output("dense/BiasAdd", "logits", (1, 2))), image)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)


def test_other_layers_are_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"Keras layer LSTM \(x\)"):
        made([layer("LSTM", "x", "picture")], {}, Output("x", "x", (1,)))
    leaky = layer("ReLU", "x", "picture", max_value=None, negative_slope=0.1, threshold=0)
    with pytest.raises(NotImplementedError, match="ReLU x of its own shape"):
        made([leaky], {}, Output("x", "x", (1,)))
