"""A tiny network that remembers, for tests of what carries state from picture to picture."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.frame.models import MANIFEST_NAME

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """\
[[model]]
name = "{name}"
purpose = "a test"
file = "{name}.onnx"
sha256 = "{sha256}"
licence = "CC0-1.0"
parameters = 0
mflops = 0.0
origin.package = "tests"
origin.path = "remembering.py"
origin.sha256 = "00"
[[model.input]]
name = "image"
shape = [1, 2, 3, 3]
dtype = "uint8"
range = [0.0, 255.0]
meaning = "RGB"
[[model.input]]
name = "memory"
shape = [1, 2, 3]
dtype = "float32"
range = [-inf, inf]
meaning = "the sum so far"
[[model.output]]
name = "total"
shape = [1, 2, 3]
dtype = "float32"
range = [-inf, inf]
meaning = "the sum of the red of all pictures"
[[model.output]]
name = "next"
shape = [1, 2, 3]
dtype = "float32"
range = [-inf, inf]
meaning = "memory of the next picture"
"""


def remembering(folder: Path, name: str) -> None:
    """Writes a network that adds up the red of its pictures, and a manifest of it alone."""
    shape = [1, 2, 3]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["floats", "red"], ["seen"], axis=3),
        helper.make_node("Add", ["seen", "memory"], ["total"]),
        helper.make_node("Identity", ["total"], ["next"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 2, 3, 3]),
            helper.make_tensor_value_info("memory", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, shape),
        ],
        [numpy_helper.from_array(np.array(0), "red")],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(data)
    text = MANIFEST.format(name=name, sha256=hashlib.sha256(data).hexdigest())
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
