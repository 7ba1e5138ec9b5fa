"""Turns a TensorFlow.js network into an ONNX graph that takes uint8 pictures of one size.

`tfjs_source` and `tfjs_layers` read the files; this module emits ONNX nodes by `onnx_graph`. Only
what leads to the wanted outputs is converted, and what follows from the fixed sizes is computed
here (`tfjs_constants`). It covers the operations of the networks that `fetch` knows and refuses
any other. Its length is one emitter for each of them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto
from onnx_graph import IMAGE, Converted, GraphWriter
from tfjs_constants import fold, strided
from tfjs_layers import read_layers
from tfjs_source import Node, Source, read_graph
from tfjs_values import (
    DEAD,
    Batched,
    Convolution,
    Size,
    Tensor,
    Value,
    aligned,
    is_known,
    onnx_axis,
    pair,
    shape_of,
    window_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from tfjs_recipe import Output, Recipe

CONVOLUTIONS = (
    "Conv2D",
    "DepthwiseConv2dNative",
    "FusedDepthwiseConv2dNative",
    "_FusedConv2D",
)
ELEMENTWISE = {
    "Add": "Add",
    "AddV2": "Add",
    "BiasAdd": "Add",
    "Maximum": "Max",
    "Minimum": "Min",
    "Mul": "Mul",
    "Sub": "Sub",
}
FOLDED_INTO_CONVOLUTIONS = ("Add", "AddV2", "BiasAdd", "Mul")


def read_model(document: Mapping[str, Any], shards: Sequence[bytes]) -> Source:
    """model.json's content and its weight files, in either of TensorFlow.js' forms."""
    layered = "model_config" in document["modelTopology"]
    return (read_layers if layered else read_graph)(document, shards)


def convert(source: Source, recipe: Recipe) -> Converted:
    """Converts a network. The picture's input is `image`.

    Raises NotImplementedError for an operation that it does not know, ValueError where the
    network does not fit the recipe.
    """
    return _Conversion(source, recipe).run()


class _Conversion:
    """State of one conversion: the graph so far, and each node's results."""

    def __init__(self, source: Source, recipe: Recipe) -> None:
        self._source = source
        self._recipe = recipe
        self._graph = GraphWriter()
        self._results: dict[str, tuple[Value, ...]] = {}
        # By identity; the convolution is kept so that no other object gets its number.
        self._written: dict[int, tuple[Convolution, Tensor]] = {}
        self._order = _order(source, [output.source for output in recipe.outputs])
        self._uses = Counter(name.partition(":")[0] for node in self._order for name in node.inputs)
        self._emitters: dict[str, Callable[[Node, list[Value]], Value]] = {
            "AvgPool": self._average_pool,
            "BatchToSpaceND": self._same,
            "BroadcastTo": self._broadcast,
            "Cast": self._cast,
            "ConcatV2": self._concatenate,
            "MatMul": self._matrix_product,
            "Mean": self._mean,
            "Pad": self._pad,
            "Relu": self._unary("Relu"),
            "Relu6": self._relu6,
            "Reshape": self._reshape,
            "ResizeBilinear": self._resize,
            "Sigmoid": self._unary("Sigmoid"),
            "Slice": self._slice,
            "SpaceToBatchND": self._space_to_batch,
            "Split": self._split,
            "SplitV": self._split_sizes,
            "Square": self._square,
            "StridedSlice": self._strided_slice,
            "Tanh": self._unary("Tanh"),
            **dict.fromkeys(CONVOLUTIONS, self._convolution),
            **dict.fromkeys(ELEMENTWISE, self._elementwise),
        }

    def run(self) -> Converted:
        recipe = self._recipe
        self._place_inputs()
        for node in self._order:
            self._value(node.name)
        for output in recipe.outputs:
            self._finish(output)
        return self._graph.finish(
            recipe.name,
            recipe.image_shape,
            [(output.name, output.shape) for output in recipe.outputs],
            [(state.name, state.shape) for state in recipe.states],
        )

    # Inputs and outputs

    def _place_inputs(self) -> None:
        recipe = self._recipe
        picture = self._graph.normalised(IMAGE, recipe.normalisation)
        self._results[recipe.image] = (Tensor(picture, recipe.image_shape),)
        for state in recipe.states:
            batch, channels, height, width = state.shape
            shape = (batch, height, width, channels)
            self._results[state.source] = (Tensor(state.name, shape),)
        for name, value in recipe.constants:
            self._results[name] = (np.float32(value),)

    def _finish(self, output: Output) -> None:
        tensor = self._tensor(self._value(output.source))
        if math.prod(tensor.shape) != math.prod(output.shape):
            raise ValueError(f"output {output.name} has {tensor.shape}, not {output.shape}")
        name = self._graph.node("Sigmoid", [tensor.name]) if output.sigmoid else tensor.name
        self._graph.reshaped(name, output.shape, result=output.name)

    # Evaluation

    def _evaluate(self, node: Node) -> Value:
        if node.kind == "Const":
            return self._source.weights[node.name]
        inputs = [self._value(name) for name in node.inputs]
        if node.kind == "Merge":
            (alive,) = (value for value in inputs if value is not DEAD)
            return alive
        if any(value is DEAD for value in inputs):
            return (DEAD, DEAD)
        if node.kind == "Switch":
            return (DEAD, inputs[0]) if bool(inputs[1]) else (inputs[0], DEAD)
        if node.kind == "Identity":
            return inputs[0]
        if node.kind == "Shape":
            return np.array(shape_of(inputs[0]), np.int32)
        if inputs and all(is_known(value) for value in inputs):
            return fold(node, inputs)
        if node.kind not in self._emitters:
            raise NotImplementedError(f"TensorFlow operation {node.kind} ({node.name})")
        return self._emitters[node.kind](node, inputs)

    def _value(self, reference: str) -> Value:
        name, _, number = reference.partition(":")
        if name not in self._results:
            result = self._evaluate(self._source.nodes[name])
            self._results[name] = result if isinstance(result, tuple) else (result,)
        return self._results[name][int(number or 0)]

    def _tensor(self, value: Value) -> Tensor:
        """The value as a tensor of the graph; what was held back is written now."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, Convolution):
            if id(value) not in self._written:
                self._written[id(value)] = value, self._write(value)
            return self._written[id(value)][1]
        raise NotImplementedError(f"{type(value).__name__} where a tensor is needed")

    # Convolutions

    def _write(self, held: Convolution) -> Tensor:
        bias = [] if held.bias is None else [self._graph.weight(held.bias)]
        self._graph.flops += 2 * math.prod(held.weights.shape[1:]) * math.prod(held.shape)
        name = self._graph.node(
            "Conv",
            [held.source, self._graph.weight(held.weights), *bias],
            kernel_shape=held.weights.shape[2:],
            strides=held.strides,
            dilations=held.dilations,
            group=held.group,
            pads=held.pads,
        )
        return Tensor(name, held.shape)

    def _convolution(self, node: Node, inputs: list[Value]) -> Value:
        source, kernel = inputs[0], np.asarray(inputs[1], np.float32)
        height, width = kernel.shape[:2]
        if "Depthwise" in node.kind:  # [h, w, in, factor]
            weights = kernel.reshape(height, width, 1, -1).transpose(3, 2, 0, 1)
            group = kernel.shape[2]
        else:  # [h, w, in, out]
            weights = kernel.transpose(3, 2, 0, 1)
            group = shape_of(source)[3] // kernel.shape[2]
        size = (height, width)
        held = (
            self._dilated(node, source, weights)
            if isinstance(source, Batched)
            else self._plain(node, self._tensor(source), weights, size)
        )
        return self._fused(node, replace(held, group=group), inputs)

    def _plain(
        self, node: Node, source: Tensor, weights: NDArray[np.float32], size: Size
    ) -> Convolution:
        strides = pair(node.attributes["strides"])
        dilations = pair(node.attributes.get("dilations") or [1, 1, 1, 1])
        reach = tuple((size[axis] - 1) * dilations[axis] + 1 for axis in range(2))
        result, pads = window_of(node, source.shape[1:3], reach, strides)
        return Convolution(
            source=source.name,
            weights=weights,
            bias=None,
            shape=(source.shape[0], *result, weights.shape[0]),
            strides=strides,
            dilations=dilations,
            pads=tuple(pads),
            group=1,
        )

    def _dilated(self, node: Node, batched: Batched, weights: NDArray[np.float32]) -> Convolution:
        """SpaceToBatchND, a convolution without padding, BatchToSpaceND: one with dilation."""
        if node.attributes["padding"] != "VALID" or pair(node.attributes["strides"]) != (1, 1):
            raise NotImplementedError(f"{node.name}: a batch of pictures, padded or with strides")
        (follower,) = (after for after in self._order if node.name in after.inputs)
        crops = np.asarray(self._value(follower.inputs[2]))
        if follower.kind != "BatchToSpaceND" or crops[:, 0].any():
            raise NotImplementedError(f"{node.name}: a batch of pictures put together otherwise")
        result, after = [], []
        for axis in range(2):
            size, block = weights.shape[2 + axis], batched.block[axis]
            whole = (batched.shape[1 + axis] - size + 1) * block - int(crops[axis, 1])
            reach = (whole - 1) + (size - 1) * block + 1
            result.append(whole)
            after.append(reach - batched.picture.shape[1 + axis] - batched.before[axis])
        return Convolution(
            source=batched.picture.name,
            weights=weights,
            bias=None,
            shape=(batched.picture.shape[0], *result, weights.shape[0]),
            strides=(1, 1),
            dilations=batched.block,
            pads=(*batched.before, *after),
            group=1,
        )

    def _fused(self, node: Node, held: Convolution, inputs: list[Value]) -> Value:
        """What TensorFlow has made part of the convolution: a bias, an activation."""
        value: Value = held
        for step in node.attributes.get("fused_ops") or ():
            match step:
                case "BiasAdd":
                    value = replace(held, bias=np.asarray(inputs[2], np.float32))
                case "Relu":
                    value = self._unary("Relu")(node, [value])
                case "Relu6":
                    value = self._relu6(node, [value])
                case _:
                    raise NotImplementedError(f"{node.name}: fused {step}")
        return value

    def _space_to_batch(self, node: Node, inputs: list[Value]) -> Value:
        picture = self._tensor(inputs[0])
        block, pads = np.asarray(inputs[1]), np.asarray(inputs[2])
        height, width = (
            (picture.shape[1 + axis] + int(pads[axis].sum())) // int(block[axis])
            for axis in range(2)
        )
        return Batched(
            picture=picture,
            block=(int(block[0]), int(block[1])),
            before=(int(pads[0, 0]), int(pads[1, 0])),
            shape=(picture.shape[0], height, width, picture.shape[3]),
        )

    # Arithmetic

    def _elementwise(self, node: Node, inputs: list[Value]) -> Value:
        folded = self._into_convolution(node, inputs)
        if folded is not None:
            return folded
        shape = np.broadcast_shapes(*(shape_of(value) for value in inputs))
        names = [
            self._graph.weight(aligned(value, len(shape)))
            if is_known(value)
            else self._tensor(value).name
            for value in inputs
        ]
        return Tensor(self._graph.node(ELEMENTWISE[node.kind], names), shape)

    def _into_convolution(self, node: Node, inputs: list[Value]) -> Convolution | None:
        """The convolution with a factor or a bias a channel taken in; None where that is not so.

        TensorFlow computes batch normalisation so, and the weights that come out are those that
        it would fold itself: one rounded product each.
        """
        held, other = inputs
        holder = node.inputs[0]
        if isinstance(other, Convolution) and node.kind != "BiasAdd":
            held, other, holder = other, held, node.inputs[1]
        if (
            not isinstance(held, Convolution)
            or not is_known(other)
            or np.asarray(other).size != held.shape[3]
            or self._uses[holder.partition(":")[0]] != 1
            or node.kind not in FOLDED_INTO_CONVOLUTIONS
        ):
            return None
        each = np.asarray(other, np.float32).ravel()
        if node.kind == "Mul":
            bias = None if held.bias is None else held.bias * each
            return replace(held, weights=held.weights * each.reshape(-1, 1, 1, 1), bias=bias)
        return replace(held, bias=each if held.bias is None else held.bias + each)

    def _matrix_product(self, node: Node, inputs: list[Value]) -> Value:
        source, matrix = self._tensor(inputs[0]), np.asarray(inputs[1], np.float32)
        if node.attributes.get("transpose_b"):
            matrix = matrix.T
        self._graph.flops += 2 * matrix.size
        name = self._graph.node("MatMul", [source.name, self._graph.weight(matrix)])
        return Tensor(name, (source.shape[0], matrix.shape[1]))

    def _square(self, _: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        return Tensor(self._graph.node("Mul", [source.name, source.name]), source.shape)

    def _relu6(self, _: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        bounds = [self._graph.weight(np.float32(bound)) for bound in (0, 6)]
        return Tensor(self._graph.node("Clip", [source.name, *bounds]), source.shape)

    def _unary(self, kind: str) -> Callable[[Node, list[Value]], Value]:
        def emit(_: Node, inputs: list[Value]) -> Value:
            source = self._tensor(inputs[0])
            return Tensor(self._graph.node(kind, [source.name]), source.shape)

        return emit

    def _same(self, _: Node, inputs: list[Value]) -> Value:
        return inputs[0]

    def _cast(self, node: Node, inputs: list[Value]) -> Value:
        if node.attributes["DstT"] != "DT_FLOAT":
            raise NotImplementedError(f"{node.name}: a tensor as {node.attributes['DstT']}")
        source = self._tensor(inputs[0])
        return Tensor(self._graph.node("Cast", [source.name], to=TensorProto.FLOAT), source.shape)

    # Windows and sizes

    def _average_pool(self, node: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        size, strides = pair(node.attributes["ksize"]), pair(node.attributes["strides"])
        result, pads = window_of(node, source.shape[1:3], size, strides)
        shape = (source.shape[0], *result, source.shape[3])
        if size == source.shape[1:3]:
            return Tensor(self._graph.node("GlobalAveragePool", [source.name]), shape)
        name = self._graph.node(
            "AveragePool", [source.name], kernel_shape=size, strides=strides, pads=pads
        )
        return Tensor(name, shape)

    def _mean(self, node: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        axes = sorted(int(axis) % 4 for axis in np.ravel(inputs[1]))
        if axes != [1, 2] or len(source.shape) != 4:
            raise NotImplementedError(f"{node.name}: mean over the axes {axes}")
        batch, _, _, channels = source.shape
        name = self._graph.node("GlobalAveragePool", [source.name])
        if node.attributes.get("keep_dims"):
            return Tensor(name, (batch, 1, 1, channels))
        return Tensor(self._graph.reshaped(name, (batch, channels)), (batch, channels))

    def _pad(self, _: Node, inputs: list[Value]) -> Value:
        source, widths = self._tensor(inputs[0]), np.asarray(inputs[1], np.int64)
        shape = tuple(
            size + int(width.sum()) for size, width in zip(source.shape, widths, strict=True)
        )
        ordered = widths[[0, 3, 1, 2]].T.ravel()
        name = self._graph.node("Pad", [source.name, self._graph.weight(ordered)])
        return Tensor(name, shape)

    def _resize(self, node: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        height, width = (int(size) for size in np.ravel(inputs[1]))
        batch, _, _, channels = shape = (source.shape[0], height, width, source.shape[3])
        if shape == source.shape:
            return source
        if node.attributes.get("align_corners"):
            mode = "align_corners"
        else:
            centred = node.attributes.get("half_pixel_centers")
            mode = "half_pixel" if centred else "asymmetric"
        sizes = self._graph.weight(np.array([batch, channels, height, width], np.int64))
        name = self._graph.node(
            "Resize",
            [source.name, "", "", sizes],
            mode="linear",
            coordinate_transformation_mode=mode,
        )
        return Tensor(name, shape)

    def _reshape(self, node: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        wanted = [int(size) for size in np.ravel(inputs[1])]
        if -1 in wanted:
            wanted[wanted.index(-1)] = math.prod(source.shape) // -math.prod(wanted)
        shape = tuple(wanted)
        if shape == source.shape:
            return source
        if len(shape) == 4:
            raise NotImplementedError(f"{node.name}: reshape of {source.shape} to {shape}")
        name = source.name
        if len(source.shape) == 4:
            # The new axes group NHWC values, so the layout has to be NHWC before it is regrouped.
            name = self._graph.node("Transpose", [name], perm=[0, 2, 3, 1])
        return Tensor(self._graph.reshaped(name, shape), shape)

    def _broadcast(self, node: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        if tuple(int(size) for size in np.ravel(inputs[1])) != source.shape:
            raise NotImplementedError(f"{node.name}: a tensor broadcast to another shape")
        return source

    # Joining and cutting

    def _concatenate(self, node: Node, inputs: list[Value]) -> Value:
        tensors = [self._tensor(value) for value in inputs[:-1]]
        shape = list(tensors[0].shape)
        axis = int(inputs[-1]) % len(shape)
        shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
        name = self._graph.node(
            "Concat", [tensor.name for tensor in tensors], axis=onnx_axis(axis, len(shape))
        )
        return Tensor(name, tuple(shape))

    def _split(self, node: Node, inputs: list[Value]) -> Value:
        source, count = self._tensor(inputs[1]), node.attributes["num_split"]
        axis = int(inputs[0]) % len(source.shape)
        return self._parts(source, [source.shape[axis] // count] * count, axis)

    def _split_sizes(self, _: Node, inputs: list[Value]) -> Value:
        source, sizes = self._tensor(inputs[0]), [int(size) for size in np.ravel(inputs[1])]
        axis = int(inputs[2]) % len(source.shape)
        if -1 in sizes:
            sizes[sizes.index(-1)] = source.shape[axis] - sum(sizes) - 1
        return self._parts(source, sizes, axis)

    def _parts(self, source: Tensor, sizes: list[int], axis: int) -> tuple[Tensor, ...]:
        names = self._graph.split(source.name, sizes, onnx_axis(axis, len(source.shape)))
        return tuple(
            Tensor(name, (*source.shape[:axis], size, *source.shape[axis + 1 :]))
            for name, size in zip(names, sizes, strict=True)
        )

    def _slice(self, _: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        begin, sizes = (np.ravel(value).tolist() for value in inputs[1:3])
        taken = [
            slice(low, None if size == -1 else low + size)
            for low, size in zip(begin, sizes, strict=True)
        ]
        return self._cut(source, taken)

    def _strided_slice(self, node: Node, inputs: list[Value]) -> Value:
        source = self._tensor(inputs[0])
        taken = strided(node, inputs[1:4], len(source.shape))
        if any(isinstance(part, int) for part in taken):
            raise NotImplementedError(f"{node.name}: a tensor that loses an axis")
        return self._cut(source, [part for part in taken if isinstance(part, slice)])

    def _cut(self, source: Tensor, taken: Sequence[slice]) -> Tensor:
        """The part of a tensor that a slice an axis takes; axes without one stay whole."""
        shape, cuts = list(source.shape), []
        for axis, part in enumerate(taken):
            low, high, step = part.indices(source.shape[axis])
            shape[axis] = len(range(low, high, step))
            if shape[axis] != source.shape[axis]:
                cuts.append((low, high, onnx_axis(axis, len(shape)), step))
        if not cuts:
            return source
        bounds = [
            self._graph.weight(np.array(column, np.int64)) for column in zip(*cuts, strict=True)
        ]
        return Tensor(self._graph.node("Slice", [source.name, *bounds]), tuple(shape))


def _order(source: Source, wanted: Sequence[str]) -> list[Node]:
    """The nodes that lead to the wanted ones, each behind its inputs."""
    order: list[Node] = []
    seen: set[str] = set()
    done: set[str] = set()
    stack = [(name.partition(":")[0], False) for name in reversed(wanted)]
    while stack:
        name, inputs_done = stack.pop()
        if inputs_done:
            order.append(source.nodes[name])
            done.add(name)
            if not done.issuperset(before.partition(":")[0] for before in order[-1].inputs):
                raise ValueError(f"the network leads from {name!r} back to itself")
        elif name not in seen:
            seen.add(name)
            if name not in source.nodes:
                raise ValueError(f"the network has no node {name!r}")
            stack.append((name, True))
            inputs = source.nodes[name].inputs
            stack.extend((before.partition(":")[0], False) for before in reversed(inputs))
    return order
