"""The shipped files come out of models/build.py, and rewriting for speed changes no result."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.frame.models import Models, read_manifest
from service.modelcards import MODELS_DIRECTORY
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAMES = tuple(read_manifest(MODELS_DIRECTORY))
CHANNELS = 5


def rewrite(module_name: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """`rewrite` of a module in models/, which holds data and scripts and is no package."""
    path = MODELS_DIRECTORY / f"{module_name}.py"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("onnx.ModelProto", module.rewrite(model))


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MODELS_DIRECTORY / "build.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def with_prelu(slopes: NDArray[np.float32]) -> onnx.ModelProto:
    """convolution -> PRelu -> PRelu, as in a chain of FaceMesh."""
    shape = [1, CHANNELS, 7, 6]
    kernel = np.random.default_rng(1).normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["in", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("PRelu", ["a", "slopes"], ["b"]),
        helper.make_node("PRelu", ["b", "slopes"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(slopes.reshape(-1, 1, 1), "slopes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_gates() -> onnx.ModelProto:
    """A picture times a gate, a gate times a picture, and two products that are no gates."""
    picture, gate = [1, CHANNELS, 4, 6], [1, CHANNELS, 1, 1]
    nodes = [
        helper.make_node("GlobalAveragePool", ["in"], ["gate"]),
        helper.make_node("Mul", ["gate", "gate"], ["square"], name="gate by gate"),
        helper.make_node("Mul", ["in", "square"], ["a"], name="picture by gate"),
        helper.make_node("Mul", ["square", "a"], ["b"], name="gate by picture"),
        helper.make_node("Mul", ["b", "in"], ["out"], name="picture by picture"),
    ]
    graph = helper.make_graph(
        nodes,
        "gates",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, picture)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, picture)],
        value_info=[helper.make_tensor_value_info("gate", TensorProto.FLOAT, gate)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def results(model: onnx.ModelProto, value: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return cast("NDArray[np.float32]", session.run(None, {"in": value})[0])


def pictures(height: int, width: int) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(5)
    noise = generator.integers(0, 256, (height, width, 3), np.uint8)
    person = cv2.resize(astronaut(), (width, height), interpolation=cv2.INTER_AREA)
    return [noise, np.asarray(person, np.uint8), np.zeros((height, width, 3), np.uint8)]


def assert_same_results(shipped: Models, other: Models) -> None:
    for name in NAMES:
        for picture in pictures(*shipped[name].shape[:2]):
            expected, found = shipped[name].run(picture), other[name].run(picture)
            for left, right in zip(expected, found, strict=True):
                np.testing.assert_allclose(right, left, rtol=1e-4, atol=1e-4)


def test_prelu_rewritten_computes_the_same() -> None:
    slopes = np.array([0.0, 0.25, 1.0, -0.5, 3.0], np.float32)
    before = with_prelu(slopes)
    after = rewrite("prelu", before)
    assert {node.op_type for node in after.graph.node} == {"Conv", "Relu", "Add"}
    assert "PRelu" in {node.op_type for node in before.graph.node}, "the argument is not changed"
    assert "slopes" not in {weight.name for weight in after.graph.initializer}
    value = np.random.default_rng(2).normal(size=(1, CHANNELS, 7, 6), scale=4).astype(np.float32)
    expected = results(before, value)
    assert (expected < 0).any()
    np.testing.assert_allclose(results(after, value), expected, rtol=1e-5, atol=1e-5)


def test_gates_spread_compute_the_same() -> None:
    before = with_gates()
    after = rewrite("gates", before)
    resized = [node.output[0] for node in after.graph.node if node.op_type == "Resize"]
    assert resized == ["a_gate", "b_gate"]
    assert "Resize" not in {node.op_type for node in before.graph.node}
    value = np.random.default_rng(3).normal(size=(1, CHANNELS, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(results(after, value), results(before, value), rtol=1e-6)


@pytest.mark.model
@pytest.mark.download
def test_rewriting_changes_no_shipped_network(tmp_path: Path) -> None:
    done = build("--output", str(tmp_path), "--plain")
    assert done.returncode == 0, done.stderr
    shipped, plain = Models.load(MODELS_DIRECTORY, NAMES), Models.load(tmp_path, NAMES)
    assert shipped["facemesh"].card.sha256 != plain["facemesh"].card.sha256
    assert_same_results(shipped, plain)


def test_plain_files_are_not_built_over_the_shipped_ones() -> None:
    done = build("--plain")
    assert done.returncode == 2
    assert "--plain is for comparing" in done.stderr


@pytest.mark.model
@pytest.mark.parametrize("name", NAMES)
def test_no_shipped_graph_has_a_prelu(name: str) -> None:
    model = onnx.load(MODELS_DIRECTORY / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert "Conv" in kinds
    assert "PRelu" not in kinds
    assert {node.domain for node in model.graph.node} == {""}, "no operator of a vendor's own"


@pytest.mark.model
def test_the_folder_agrees_with_its_manifest() -> None:
    done = build("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.model
@pytest.mark.download
@pytest.mark.timeout(300)
def test_a_rebuild_computes_what_the_shipped_files_compute(tmp_path: Path) -> None:
    done = build("--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert_same_results(Models.load(MODELS_DIRECTORY, NAMES), Models.load(tmp_path, NAMES))
