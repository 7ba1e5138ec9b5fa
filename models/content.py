"""A digest of a network's weights that does not depend on the file they came in.

`fetch` holds a network to it whose published files cannot be pinned themselves.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

if TYPE_CHECKING:
    import onnx

ROUNDING = 1e-6
"""Relative: folding a factor into float32 weights rounds each by 6e-8 at most."""


@dataclass(frozen=True, slots=True)
class Content:
    """What the weights of a network's convolutions come to."""

    sha256: str
    norm: float
    """Root of the sum of their squares."""

    def is_close(self, norm: float) -> bool:
        """Whether the weights may differ from those of that norm by rounding alone."""
        return abs(self.norm - norm) <= ROUNDING * norm


def content_of(model: onnx.ModelProto) -> Content:
    """The content of a graph that `tfjs_graph` made.

    Each convolution's kernel, [out, in, h, w], and bias is hashed by itself with its shape, as
    little-endian float32; the digest is of those digests, sorted, so neither names nor order count.
    """
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    used = [
        arrays[name].astype("<f4")
        for node in model.graph.node
        if node.op_type == "Conv"
        for name in node.input[1:]
    ]
    digests = sorted(
        hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()
        for values in used
    )
    squares = sum(float(np.square(values, dtype=np.float64).sum()) for values in used)
    return Content(hashlib.sha256("".join(digests).encode()).hexdigest(), float(np.sqrt(squares)))
