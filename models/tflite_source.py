"""Reads a TFLite flatbuffer into plain values: tensors, constants and operators.

Knows nothing of ONNX: `tflite_graph` turns what this module returns into a graph. Only the
flatbuffer schema (the `tflite` package) is needed, TensorFlow is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tflite  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMPY_TYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype(np.float32),
    tflite.TensorType.FLOAT16: np.dtype(np.float16),
    tflite.TensorType.INT32: np.dtype(np.int32),
}


@dataclass(frozen=True, slots=True)
class Operator:
    """One node of the source graph; inputs and outputs are tensor numbers."""

    kind: str
    """Schema name, e.g. `CONV_2D`; a custom operator is `CUSTOM:` and its own name."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    """The schema's option table, bytes for a custom operator, None where there are none."""


@dataclass(frozen=True, slots=True)
class Source:
    """A whole TFLite network."""

    shapes: tuple[tuple[int, ...], ...]
    """Shape of every tensor, NHWC as TFLite lays them out."""
    constants: dict[int, NDArray[Any]]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(data: bytes) -> Source:
    """Reads the only subgraph of a TFLite model."""
    model = tflite.Model.GetRootAsModel(data, 0)
    if model.SubgraphsLength() != 1:
        raise ValueError(f"expected one subgraph, found {model.SubgraphsLength()}")
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(number) for number in range(graph.TensorsLength())]
    shapes = tuple(
        tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        for tensor in tensors
    )
    constants = {
        number: _constant(model, tensor, shapes[number])
        for number, tensor in enumerate(tensors)
        if model.Buffers(tensor.Buffer()).DataLength()
    }
    operators = tuple(
        _operator(model, graph.Operators(number)) for number in range(graph.OperatorsLength())
    )
    return Source(
        shapes=shapes,
        constants=constants,
        operators=operators,
        inputs=tuple(int(number) for number in graph.InputsAsNumpy()),
        outputs=tuple(int(number) for number in graph.OutputsAsNumpy()),
    )


def _constant(model: tflite.Model, tensor: tflite.Tensor, shape: tuple[int, ...]) -> NDArray[Any]:
    if tensor.Sparsity() is not None:
        raise ValueError(f"tensor {tensor.Name()!r} is sparse, which no shipped network is")
    raw: bytes = model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
    values: NDArray[Any] = np.frombuffer(raw, NUMPY_TYPES[tensor.Type()])
    return values.reshape(shape)


def _operator(model: tflite.Model, node: tflite.Operator) -> Operator:
    code = model.OperatorCodes(node.OpcodeIndex())
    # Older files keep the number in the deprecated field, and the newer field is then 0.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == tflite.BuiltinOperator.CUSTOM:
        kind = "CUSTOM:" + code.CustomCode().decode()
        options: Any = node.CustomOptionsAsNumpy().tobytes()
    else:
        kind = tflite.opcode2name(number)
        options = _options(node)
    return Operator(
        kind=kind,
        inputs=tuple(int(tensor) for tensor in node.InputsAsNumpy()),
        outputs=tuple(int(tensor) for tensor in node.OutputsAsNumpy()),
        options=options,
    )


def _options(node: tflite.Operator) -> Any:  # noqa: ANN401  a class for every kind of operator
    names = {
        value: name
        for name, value in vars(tflite.BuiltinOptions).items()
        if not name.startswith("_") and isinstance(value, int)
    }
    name = names[node.BuiltinOptionsType()]
    if name == "NONE":
        return None
    table = node.BuiltinOptions()
    options = getattr(tflite, name)()
    options.Init(table.Bytes, table.Pos)
    return options
