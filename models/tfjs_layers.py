"""Reads a TensorFlow.js layers-model: Keras layers, written out as the operations they stand for.

`tfjs_graph` gets the same from here as from `tfjs_source.read_graph`. A layer's result has the
layer's name; what comes before it inside the layer is `LAYER/Operation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tfjs_source import Node, Source, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Config = dict[str, Any]

ACTIVATIONS = {"relu": "Relu", "softmax": "Softmax", "sigmoid": "Sigmoid"}


def read_layers(document: Mapping[str, Any], shards: Sequence[bytes]) -> Source:
    """A layers-model whose layers have one output each."""
    return _Lowering(read_weights(document, shards)).run(
        document["modelTopology"]["model_config"]["config"]["layers"]
    )


class _Lowering:
    """The operations so far, and the weights with those that batch normalisation comes to."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: dict[str, Node] = {}
        self._emitters: dict[str, Callable[[str, list[str], Config], None]] = {
            "Add": self._add,
            "AveragePooling2D": self._average_pool,
            "BatchNormalization": self._batch_normalisation,
            "Conv2D": self._convolution,
            "Dense": self._dense,
            "DepthwiseConv2D": self._convolution,
            "Dropout": self._identity,
            "Flatten": self._flatten,
            "InputLayer": self._input,
            "ReLU": self._relu,
            "ZeroPadding2D": self._zero_padding,
        }

    def run(self, layers: Sequence[Mapping[str, Any]]) -> Source:
        for layer in layers:
            kind, name = layer["class_name"], layer["name"]
            if kind not in self._emitters:
                raise NotImplementedError(f"Keras layer {kind} ({name})")
            sources = [entry[0] for call in layer["inbound_nodes"] for entry in call]
            self._emitters[kind](name, sources, layer["config"])
        return Source(self._nodes, self._weights)

    # Layers, one emitter each

    def _input(self, name: str, _: list[str], config: Config) -> None:
        shape = [1 if size is None else size for size in config["batch_input_shape"]]
        self._node("Placeholder", name, (), shape=shape)

    def _zero_padding(self, name: str, sources: list[str], config: Config) -> None:
        rows, columns = config["padding"]
        widths = self._constant(f"{name}/paddings", np.array([(0, 0), rows, columns, (0, 0)]))
        self._node("Pad", name, (*sources, widths))

    def _convolution(self, name: str, sources: list[str], config: Config) -> None:
        depthwise = "depth_multiplier" in config
        kind, kernel = (
            ("DepthwiseConv2dNative", "depthwise_kernel") if depthwise else ("Conv2D", "kernel")
        )
        self._weighted(
            name,
            kind,
            (*sources, self._known(f"{name}/{kernel}")),
            config,
            strides=[1, *config["strides"], 1],
            dilations=[1, *config["dilation_rate"], 1],
            padding=config["padding"].upper(),
        )

    def _dense(self, name: str, sources: list[str], config: Config) -> None:
        self._weighted(name, "MatMul", (*sources, self._known(f"{name}/kernel")), config)

    def _batch_normalisation(self, name: str, sources: list[str], config: Config) -> None:
        gamma, beta, mean, variance = (
            self._weights[f"{name}/{part}"].astype(np.float64)
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + config["epsilon"])
        scale = self._constant(f"{name}/scale", factor.astype(np.float32))
        offset = self._constant(f"{name}/offset", (beta - mean * factor).astype(np.float32))
        scaled = self._node("Mul", f"{name}/Mul", (*sources, scale))
        self._node("AddV2", name, (scaled, offset))

    def _relu(self, name: str, sources: list[str], config: Config) -> None:
        if config["negative_slope"] or config["threshold"] or config["max_value"] not in (None, 6):
            raise NotImplementedError(f"ReLU {name} of its own shape")
        self._node("Relu6" if config["max_value"] else "Relu", name, sources)

    def _average_pool(self, name: str, sources: list[str], config: Config) -> None:
        self._node(
            "AvgPool",
            name,
            sources,
            ksize=[1, *config["pool_size"], 1],
            strides=[1, *config["strides"], 1],
            padding=config["padding"].upper(),
        )

    def _flatten(self, name: str, sources: list[str], _: Config) -> None:
        shape = self._constant(f"{name}/shape", np.array([1, -1]))
        self._node("Reshape", name, (*sources, shape))

    def _add(self, name: str, sources: list[str], _: Config) -> None:
        self._node("AddV2", name, sources)

    def _identity(self, name: str, sources: list[str], _: Config) -> None:
        self._node("Identity", name, sources)

    # Pieces

    def _weighted(
        self,
        name: str,
        kind: str,
        inputs: Sequence[str],
        config: Config,
        **attributes: Any,  # noqa: ANN401  as many types as attributes
    ) -> None:
        """An operation with weights, then its bias and its activation, as far as it has them."""
        steps: list[tuple[str, tuple[str, ...]]] = []
        if config["use_bias"]:
            steps.append(("BiasAdd", (self._known(f"{name}/bias"),)))
        if config["activation"] != "linear":
            steps.append((ACTIVATIONS[config["activation"]], ()))
        result = self._node(kind, f"{name}/{kind}" if steps else name, inputs, **attributes)
        for number, (step, more) in enumerate(steps):
            last = number == len(steps) - 1
            result = self._node(step, name if last else f"{name}/{step}", (result, *more))

    def _node(
        self,
        kind: str,
        name: str,
        inputs: Sequence[str],
        **attributes: Any,  # noqa: ANN401  as many types as attributes
    ) -> str:
        self._nodes[name] = Node(name, kind, tuple(inputs), attributes)
        return name

    def _known(self, name: str) -> str:
        return self._node("Const", name, ())

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._weights[name] = values
        return self._known(name)
