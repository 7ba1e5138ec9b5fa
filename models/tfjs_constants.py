"""Computes what a TensorFlow graph computes from constants alone: sizes, paddings, conditions.

`tfjs_graph` fixes the size of the picture, and with it all of that becomes known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from tfjs_source import Node

NUMPY_TYPES = {"DT_INT32": np.int32, "DT_FLOAT": np.float32, "DT_BOOL": np.bool_}

SAME_TYPE: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "AddV2": np.add,
    "FloorMod": np.mod,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Mul": np.multiply,
    "RealDiv": np.divide,
    "Sub": np.subtract,
}


def fold(node: Node, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The value of a node all of whose inputs are known. Raises NotImplementedError."""
    first = np.asarray(inputs[0])
    attributes = node.attributes
    match node.kind:
        case kind if kind in SAME_TYPE:
            return np.asarray(SAME_TYPE[kind](first, inputs[1])).astype(first.dtype)
        case "Cast":
            return first.astype(NUMPY_TYPES[attributes["DstT"]])
        case "ConcatV2":
            return np.concatenate(inputs[:-1], int(inputs[-1]))
        case "Equal":
            return np.asarray(np.equal(first, inputs[1]))
        case "Pack":
            return np.stack(inputs, attributes.get("axis", 0))
        case "Squeeze":
            return np.squeeze(first)
        case "StridedSlice":
            return np.asarray(first[strided(node, inputs[1:], first.ndim)])
    raise NotImplementedError(f"{node.kind} of constants ({node.name})")


def strided(node: Node, bounds: Sequence[NDArray[Any]], rank: int) -> tuple[slice | int, ...]:
    """What a StridedSlice takes of each axis; bounds are its begin, end and strides.

    Axes that it does not name are left out of the result's end.
    """
    begin, end, strides = (np.asarray(bound).tolist() for bound in bounds)
    masks = {
        key: int(node.attributes.get(f"{key}_mask") or 0)
        for key in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    if masks["new_axis"]:
        raise NotImplementedError(f"StridedSlice with a new axis ({node.name})")
    taken: list[slice | int] = []
    for axis, (low, high, stride) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if masks["ellipsis"] & bit:
            taken.extend([slice(None)] * (rank - len(begin) + 1))
        elif masks["shrink_axis"] & bit:
            taken.append(low)
        else:
            taken.append(
                slice(
                    None if masks["begin"] & bit else low,
                    None if masks["end"] & bit else high,
                    stride,
                )
            )
    return tuple(taken)
