"""Turns a TFLite network into an ONNX graph that takes uint8 pictures.

`tflite_source` reads the file; this module emits ONNX nodes, NCHW inside, uint8 NHWC at the input
with the normalisation as part of the graph. It covers the operators of the shipped networks and
refuses any other. `build` says which networks those are.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import tflite  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper
from tflite_source import Operator, Source, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Attribute = int | str | Sequence[int]

OPSET = 17
IR_VERSION = 8
"""The lowest pair that has every operator used here, so that older runtimes load the files too."""

NHWC_AXIS_IN_NCHW = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What the network expects of a pixel: `pixel * scale + offset`, pixel 0..255."""

    scale: float
    offset: float


@dataclass(frozen=True, slots=True)
class Output:
    """Name and shape that an output gets, in the order of the source's outputs."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Converted:
    """An ONNX model and what it holds."""

    model: onnx.ModelProto
    input_shape: tuple[int, ...]
    parameters: int
    mflops: float
    """Millions of floating-point operations of the convolutions; a multiply-add counts as two."""


def convert(
    data: bytes, *, name: str, normalisation: Normalisation, outputs: Sequence[Output]
) -> Converted:
    """Converts a TFLite file's content. The input is called `image`."""
    return _Conversion(read(data)).run(name, normalisation, outputs)


class _Conversion:
    """State of one conversion: nodes and weights so far, and each tensor's ONNX name."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._constants: dict[int, NDArray[Any]] = dict(source.constants)
        self._names: dict[int, str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._flops = 0
        self._emitters: dict[str, Callable[[Operator], None]] = {
            "ADD": self._add,
            "AVERAGE_POOL_2D": self._average_pool,
            "CONCATENATION": self._concatenate,
            "CONV_2D": self._convolution,
            "CUSTOM:Convolution2DTransposeBias": self._transposed_convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "DEQUANTIZE": self._dequantize,
            "HARD_SWISH": self._elementwise("HardSwish"),
            "LOGISTIC": self._elementwise("Sigmoid"),
            "MAX_POOL_2D": self._max_pool,
            "MEAN": self._mean,
            "MUL": self._multiply,
            "PAD": self._pad,
            "PRELU": self._prelu,
            "RELU": self._elementwise("Relu"),
            "RESHAPE": self._reshape,
            "RESIZE_BILINEAR": self._resize,
        }

    def run(self, name: str, normalisation: Normalisation, outputs: Sequence[Output]) -> Converted:
        (image,) = self._source.inputs
        self._names[image] = self._normalise("image", normalisation)
        for operator in self._source.operators:
            if operator.kind not in self._emitters:
                raise NotImplementedError(f"TFLite operator {operator.kind} in {name}")
            self._emitters[operator.kind](operator)
        for tensor, output in zip(self._source.outputs, outputs, strict=True):
            self._finish(tensor, output)
        input_shape = self._source.shapes[image]
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("image", TensorProto.UINT8, input_shape)],
            [
                helper.make_tensor_value_info(output.name, TensorProto.FLOAT, output.shape)
                for output in outputs
            ],
            self._weights,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="backcloth",
        )
        onnx.checker.check_model(model, full_check=True)
        parameters = sum(
            math.prod(weight.dims)
            for weight in self._weights
            if weight.data_type == TensorProto.FLOAT and weight.dims
        )
        return Converted(model, input_shape, parameters, self._flops / 1e6)

    # Input and outputs

    def _normalise(self, image: str, normalisation: Normalisation) -> str:
        planes = self._node("Transpose", [image], perm=[0, 3, 1, 2])
        floats = self._node("Cast", [planes], to=TensorProto.FLOAT)
        scaled = self._node("Mul", [floats, self._weight(np.float32(normalisation.scale))])
        if normalisation.offset == 0:
            return scaled
        return self._node("Add", [scaled, self._weight(np.float32(normalisation.offset))])

    def _finish(self, tensor: int, output: Output) -> None:
        shape = self._source.shapes[tensor]
        if len(shape) == 4 and shape[3] != 1 and shape[1:3] != (1, 1):
            raise NotImplementedError(f"output {output.name} of {shape} would need a transpose")
        if math.prod(shape) != math.prod(output.shape):
            raise ValueError(f"output {output.name} has {shape}, not {output.shape}")
        self._node(
            "Reshape",
            [self._names[tensor], self._weight(np.array(output.shape, np.int64))],
            result=output.name,
        )

    # Operators, one emitter each

    def _convolution(self, operator: Operator) -> None:
        source, kernel = operator.inputs[:2]
        (result,) = operator.outputs
        depthwise = operator.kind == "DEPTHWISE_CONV_2D"
        options = operator.options
        # TFLite has [out, h, w, in], or [1, h, w, out] where depthwise; ONNX [out, in, h, w].
        weights = self._constants[kernel].transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        strides = (options.StrideH(), options.StrideW())
        dilations = (options.DilationHFactor(), options.DilationWFactor())
        size = weights.shape[2:]
        name = self._node(
            "Conv",
            [self._names[source], self._weight(weights), *self._bias(operator, 2)],
            kernel_shape=size,
            strides=strides,
            dilations=dilations,
            group=self._source.shapes[source][3] if depthwise else 1,
            pads=self._padding(operator, size, strides, dilations),
        )
        self._flops += 2 * math.prod(weights.shape[1:]) * math.prod(self._source.shapes[result])
        self._names[result] = self._activation(name, options.FusedActivationFunction())

    def _transposed_convolution(self, operator: Operator) -> None:
        """MediaPipe's custom operator: TfLiteTransposeConvParams, and a bias as third input."""
        source, kernel = operator.inputs[:2]
        (result,) = operator.outputs
        padding, stride_w, stride_h = struct.unpack_from("<iii", operator.options)
        weights = self._constants[kernel].transpose(3, 0, 1, 2)
        size = weights.shape[2:]
        if padding != 1 or size != (stride_h, stride_w):
            # With SAME padding and a kernel as large as its stride nothing overlaps and nothing
            # is cropped: the only case in the shipped networks.
            raise NotImplementedError("transposed convolution whose windows overlap")
        self._names[result] = self._node(
            "ConvTranspose",
            [self._names[source], self._weight(weights), *self._bias(operator, 2)],
            kernel_shape=size,
            strides=(stride_h, stride_w),
        )
        self._flops += 2 * weights.size * math.prod(self._source.shapes[source][1:3])

    def _max_pool(self, operator: Operator) -> None:
        options = operator.options
        size = (options.FilterHeight(), options.FilterWidth())
        strides = (options.StrideH(), options.StrideW())
        name = self._node(
            "MaxPool",
            [self._names[operator.inputs[0]]],
            kernel_shape=size,
            strides=strides,
            pads=self._padding(operator, size, strides, (1, 1)),
        )
        self._names[operator.outputs[0]] = self._activation(name, options.FusedActivationFunction())

    def _average_pool(self, operator: Operator) -> None:
        options = operator.options
        size = (options.FilterHeight(), options.FilterWidth())
        if size != self._source.shapes[operator.inputs[0]][1:3]:
            raise NotImplementedError("average pooling of less than the whole plane")
        name = self._node("GlobalAveragePool", [self._names[operator.inputs[0]]])
        self._names[operator.outputs[0]] = self._activation(name, options.FusedActivationFunction())

    def _mean(self, operator: Operator) -> None:
        axes = sorted(int(axis) for axis in self._constants[operator.inputs[1]].ravel())
        if axes != [1, 2] or len(self._source.shapes[operator.outputs[0]]) != 4:
            raise NotImplementedError(f"mean over the axes {axes}")
        self._names[operator.outputs[0]] = self._node(
            "GlobalAveragePool", [self._names[operator.inputs[0]]]
        )

    def _add(self, operator: Operator) -> None:
        self._binary("Add", operator)

    def _multiply(self, operator: Operator) -> None:
        self._binary("Mul", operator)

    def _binary(self, kind: str, operator: Operator) -> None:
        name = self._node(kind, [self._names[tensor] for tensor in operator.inputs])
        activation = operator.options.FusedActivationFunction()
        self._names[operator.outputs[0]] = self._activation(name, activation)

    def _elementwise(self, kind: str) -> Callable[[Operator], None]:
        def emit(operator: Operator) -> None:
            self._names[operator.outputs[0]] = self._node(kind, [self._names[operator.inputs[0]]])

        return emit

    def _prelu(self, operator: Operator) -> None:
        slope = self._constants[operator.inputs[1]]
        if slope.shape[:2] != (1, 1):
            raise NotImplementedError("PReLU with a slope of its own for every pixel")
        self._names[operator.outputs[0]] = self._node(
            "PRelu", [self._names[operator.inputs[0]], self._weight(slope.reshape(-1, 1, 1))]
        )

    def _pad(self, operator: Operator) -> None:
        widths = self._constants[operator.inputs[1]].astype(np.int64)[[0, 3, 1, 2]]
        self._names[operator.outputs[0]] = self._node(
            "Pad", [self._names[operator.inputs[0]], self._weight(widths.T.ravel())]
        )

    def _resize(self, operator: Operator) -> None:
        _, height, width, channels = self._source.shapes[operator.outputs[0]]
        options = operator.options
        if options.AlignCorners():
            mode = "align_corners"
        else:
            mode = "half_pixel" if options.HalfPixelCenters() else "asymmetric"
        sizes = self._weight(np.array([1, channels, height, width], np.int64))
        self._names[operator.outputs[0]] = self._node(
            "Resize",
            [self._names[operator.inputs[0]], "", "", sizes],
            mode="linear",
            coordinate_transformation_mode=mode,
        )

    def _reshape(self, operator: Operator) -> None:
        source, result = self._source.shapes[operator.inputs[0]], operator.outputs[0]
        shape = self._source.shapes[result]
        if len(source) != 4 or len(shape) == 4:
            raise NotImplementedError(f"reshape of {source} to {shape}")
        # The new axes group NHWC values, so the layout has to be NHWC before they are regrouped.
        pixels = self._node("Transpose", [self._names[operator.inputs[0]]], perm=[0, 2, 3, 1])
        self._names[result] = self._node(
            "Reshape", [pixels, self._weight(np.array(shape, np.int64))]
        )

    def _concatenate(self, operator: Operator) -> None:
        rank = len(self._source.shapes[operator.outputs[0]])
        axis = operator.options.Axis() % rank
        name = self._node(
            "Concat",
            [self._names[tensor] for tensor in operator.inputs],
            axis=NHWC_AXIS_IN_NCHW[axis] if rank == 4 else axis,
        )
        activation = operator.options.FusedActivationFunction()
        self._names[operator.outputs[0]] = self._activation(name, activation)

    def _dequantize(self, operator: Operator) -> None:
        """Weights are stored as float16; the graph gets them as float32."""
        weights = self._constants[operator.inputs[0]]
        self._constants[operator.outputs[0]] = weights.astype(np.float32)

    # Pieces

    def _activation(self, name: str, activation: int) -> str:
        if activation == tflite.ActivationFunctionType.NONE:
            return name
        if activation == tflite.ActivationFunctionType.RELU:
            return self._node("Relu", [name])
        raise NotImplementedError(f"fused activation {activation}")

    def _bias(self, operator: Operator, position: int) -> list[str]:
        if len(operator.inputs) <= position or operator.inputs[position] < 0:
            return []
        return [self._weight(self._constants[operator.inputs[position]])]

    def _padding(
        self,
        operator: Operator,
        size: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
    ) -> list[int]:
        """ONNX pads [top, left, bottom, right] of TensorFlow's SAME: the odd pixel goes last."""
        if operator.options.Padding() == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        before, after = [], []
        source = self._source.shapes[operator.inputs[0]][1:3]
        result = self._source.shapes[operator.outputs[0]][1:3]
        for axis in range(2):
            reach = (result[axis] - 1) * strides[axis] + (size[axis] - 1) * dilations[axis] + 1
            total = max(reach - source[axis], 0)
            before.append(total // 2)
            after.append(total - total // 2)
        return before + after

    def _weight(self, values: NDArray[Any] | np.float32) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def _node(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        result: str | None = None,
        **attributes: Attribute,
    ) -> str:
        name = result or f"{kind.lower()}_{len(self._nodes)}"
        node = helper.make_node(kind, list(inputs), [name], name=name)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in sorted(attributes.items())
        )
        self._nodes.append(node)
        return name
