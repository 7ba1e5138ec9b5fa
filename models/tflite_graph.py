"""Turns a TFLite network into an ONNX graph that takes uint8 pictures.

`tflite_source` reads the file; this module emits ONNX nodes, NCHW inside, uint8 NHWC at the input
with the normalisation as part of the graph. It covers the operators of the shipped networks and
refuses any other. `build` says which networks those are.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tflite  # type: ignore[import-untyped]
from onnx_graph import (
    IMAGE,
    NHWC_AXIS_IN_NCHW,
    Converted,
    GraphWriter,
    Normalisation,
    same_padding,
)
from tflite_source import Operator, Source, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Output:
    """Name and shape that an output gets, in the order of the source's outputs."""

    name: str
    shape: tuple[int, ...]


def convert(
    data: bytes, *, name: str, normalisation: Normalisation, outputs: Sequence[Output]
) -> Converted:
    """Converts a TFLite file's content. The input is called `image`."""
    return _Conversion(read(data)).run(name, normalisation, outputs)


class _Conversion:
    """State of one conversion: the graph so far, and each tensor's ONNX name."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._constants: dict[int, NDArray[Any]] = dict(source.constants)
        self._names: dict[int, str] = {}
        self._graph = GraphWriter()
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
        self._names[image] = self._graph.normalised(IMAGE, normalisation)
        for operator in self._source.operators:
            if operator.kind not in self._emitters:
                raise NotImplementedError(f"TFLite operator {operator.kind} in {name}")
            self._emitters[operator.kind](operator)
        for tensor, output in zip(self._source.outputs, outputs, strict=True):
            self._finish(tensor, output)
        return self._graph.finish(
            name,
            self._source.shapes[image],
            [(output.name, output.shape) for output in outputs],
        )

    # Outputs

    def _finish(self, tensor: int, output: Output) -> None:
        shape = self._source.shapes[tensor]
        if len(shape) == 4 and shape[3] != 1 and shape[1:3] != (1, 1):
            raise NotImplementedError(f"output {output.name} of {shape} would need a transpose")
        if math.prod(shape) != math.prod(output.shape):
            raise ValueError(f"output {output.name} has {shape}, not {output.shape}")
        self._graph.reshaped(self._names[tensor], output.shape, result=output.name)

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
        name = self._graph.node(
            "Conv",
            [self._names[source], self._graph.weight(weights), *self._bias(operator, 2)],
            kernel_shape=size,
            strides=strides,
            dilations=dilations,
            group=self._source.shapes[source][3] if depthwise else 1,
            pads=self._padding(operator, size, strides, dilations),
        )
        self._graph.flops += (
            2 * math.prod(weights.shape[1:]) * math.prod(self._source.shapes[result])
        )
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
        self._names[result] = self._graph.node(
            "ConvTranspose",
            [self._names[source], self._graph.weight(weights), *self._bias(operator, 2)],
            kernel_shape=size,
            strides=(stride_h, stride_w),
        )
        self._graph.flops += 2 * weights.size * math.prod(self._source.shapes[source][1:3])

    def _max_pool(self, operator: Operator) -> None:
        options = operator.options
        size = (options.FilterHeight(), options.FilterWidth())
        strides = (options.StrideH(), options.StrideW())
        name = self._graph.node(
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
        name = self._graph.node("GlobalAveragePool", [self._names[operator.inputs[0]]])
        self._names[operator.outputs[0]] = self._activation(name, options.FusedActivationFunction())

    def _mean(self, operator: Operator) -> None:
        axes = sorted(int(axis) for axis in self._constants[operator.inputs[1]].ravel())
        if axes != [1, 2] or len(self._source.shapes[operator.outputs[0]]) != 4:
            raise NotImplementedError(f"mean over the axes {axes}")
        self._names[operator.outputs[0]] = self._graph.node(
            "GlobalAveragePool", [self._names[operator.inputs[0]]]
        )

    def _add(self, operator: Operator) -> None:
        self._binary("Add", operator)

    def _multiply(self, operator: Operator) -> None:
        self._binary("Mul", operator)

    def _binary(self, kind: str, operator: Operator) -> None:
        name = self._graph.node(kind, [self._names[tensor] for tensor in operator.inputs])
        activation = operator.options.FusedActivationFunction()
        self._names[operator.outputs[0]] = self._activation(name, activation)

    def _elementwise(self, kind: str) -> Callable[[Operator], None]:
        def emit(operator: Operator) -> None:
            self._names[operator.outputs[0]] = self._graph.node(
                kind, [self._names[operator.inputs[0]]]
            )

        return emit

    def _prelu(self, operator: Operator) -> None:
        slope = self._constants[operator.inputs[1]]
        if slope.shape[:2] != (1, 1):
            raise NotImplementedError("PReLU with a slope of its own for every pixel")
        self._names[operator.outputs[0]] = self._graph.node(
            "PRelu", [self._names[operator.inputs[0]], self._graph.weight(slope.reshape(-1, 1, 1))]
        )

    def _pad(self, operator: Operator) -> None:
        widths = self._constants[operator.inputs[1]].astype(np.int64)[[0, 3, 1, 2]]
        self._names[operator.outputs[0]] = self._graph.node(
            "Pad", [self._names[operator.inputs[0]], self._graph.weight(widths.T.ravel())]
        )

    def _resize(self, operator: Operator) -> None:
        _, height, width, channels = self._source.shapes[operator.outputs[0]]
        options = operator.options
        if options.AlignCorners():
            mode = "align_corners"
        else:
            mode = "half_pixel" if options.HalfPixelCenters() else "asymmetric"
        sizes = self._graph.weight(np.array([1, channels, height, width], np.int64))
        self._names[operator.outputs[0]] = self._graph.node(
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
        pixels = self._graph.node("Transpose", [self._names[operator.inputs[0]]], perm=[0, 2, 3, 1])
        self._names[result] = self._graph.reshaped(pixels, shape)

    def _concatenate(self, operator: Operator) -> None:
        rank = len(self._source.shapes[operator.outputs[0]])
        axis = operator.options.Axis() % rank
        name = self._graph.node(
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
            return self._graph.node("Relu", [name])
        raise NotImplementedError(f"fused activation {activation}")

    def _bias(self, operator: Operator, position: int) -> list[str]:
        if len(operator.inputs) <= position or operator.inputs[position] < 0:
            return []
        return [self._graph.weight(self._constants[operator.inputs[position]])]

    def _padding(
        self,
        operator: Operator,
        size: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
    ) -> list[int]:
        if operator.options.Padding() == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        source = self._source.shapes[operator.inputs[0]][1:3]
        result = self._source.shapes[operator.outputs[0]][1:3]
        return same_padding(source, result, size, strides, dilations)
