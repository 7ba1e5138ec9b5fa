"""Reads a TensorFlow.js model into plain values: nodes of a graph, and weights.

Knows nothing of ONNX: `tfjs_graph` turns what this module returns into a graph. A graph-model is
read here; a layers-model, which is Keras' own description, becomes the same by `tfjs_layers`.
TensorFlow is not needed.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SCALARS = {"i": int, "f": float, "b": bool}
"""Keys of an attribute's value in the JSON form of TensorFlow's AttrValue."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of TensorFlow's."""

    name: str
    kind: str
    """TensorFlow's name of the operation, e.g. `Conv2D`."""
    inputs: tuple[str, ...]
    """`NODE`, or `NODE:2` for a later output of a node; what only orders execution is left out."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A whole network: its nodes by name, and what its `Const` nodes hold."""

    nodes: Mapping[str, Node]
    weights: Mapping[str, NDArray[Any]]


def read_graph(document: Mapping[str, Any], shards: Sequence[bytes]) -> Source:
    """A graph-model: model.json's content and its weight files', in the manifest's order."""
    nodes = {
        entry["name"]: Node(
            name=entry["name"],
            kind=entry["op"],
            inputs=tuple(name for name in entry.get("input", ()) if not name.startswith("^")),
            attributes={
                key: _attribute(value)
                for key, value in entry.get("attr", {}).items()
                if key != "value"  # a constant's, which stands among the weights
            },
        )
        for entry in document["modelTopology"]["node"]
    }
    return Source(nodes, read_weights(document, shards))


def read_weights(document: Mapping[str, Any], shards: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """Every weight by name; what is quantised becomes float32.

    Raises ValueError when the files hold more or less than model.json says.
    """
    remaining = list(shards)
    weights: dict[str, NDArray[Any]] = {}
    for group in document["weightsManifest"]:
        count = len(group["paths"])
        data, remaining = b"".join(remaining[:count]), remaining[count:]
        position = 0
        for entry in group["weights"]:
            quantization = entry.get("quantization")
            stored = np.dtype(quantization["dtype"] if quantization else entry["dtype"])
            shape = tuple(entry["shape"])
            end = position + math.prod(shape) * stored.itemsize
            if end > len(data):
                raise ValueError(f"the weight files end before {entry['name']}")
            values = np.frombuffer(data[position:end], stored).reshape(shape)
            weights[entry["name"]] = _restored(values, quantization)
            position = end
        if position != len(data):
            raise ValueError(f"the weight files hold {len(data) - position} bytes too many")
    return weights


def _restored(values: NDArray[Any], quantization: Mapping[str, Any] | None) -> NDArray[Any]:
    if quantization is None:
        return values
    floats = values.astype(np.float32)
    if "scale" in quantization:  # float16 has none
        floats = floats * np.float32(quantization["scale"]) + np.float32(quantization["min"])
    return floats


def _attribute(value: Mapping[str, Any]) -> Any:  # noqa: ANN401  as many types as attributes
    """An AttrValue as a plain value; None for kinds that no converted network needs."""
    for key, kind in SCALARS.items():
        if key in value:
            return kind(value[key])
    if "s" in value:
        return _text(value["s"])
    if "type" in value:
        return value["type"]
    if "shape" in value:
        return [int(size.get("size", -1)) for size in value["shape"].get("dim", ())]
    if "list" in value:
        items = value["list"]
        if "s" in items:
            return [_text(item) for item in items["s"]]
        for key, kind in SCALARS.items():
            if key in items:
                return [kind(item) for item in items[key]]
        return []
    return None


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode("ascii")
