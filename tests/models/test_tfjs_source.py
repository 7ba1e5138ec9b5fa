"""Weights and attributes come out of a model.json as they went in, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from tfjs_source import read_graph, read_weights

from tests.models.made import document, manifest_group, node, random


def test_weights_of_several_files_are_one_stream() -> None:
    constants = {"a": random(3, 2), "b": np.array([4, 5], np.int32)}
    group = manifest_group(constants) | {"paths": ["1", "2"]}
    data = b"".join(values.tobytes() for values in constants.values())
    weights = read_weights({"weightsManifest": [group]}, [data[:7], data[7:]])
    for name, values in constants.items():
        np.testing.assert_array_equal(weights[name], values)
        assert weights[name].dtype == values.dtype


def test_each_group_has_files_of_its_own() -> None:
    groups = [manifest_group({"a": random(2)}), manifest_group({"b": random(3)})]
    shards = [random(2).tobytes(), random(3, seed=2).tobytes()]
    weights = read_weights({"weightsManifest": groups}, shards)
    np.testing.assert_array_equal(weights["b"], random(3, seed=2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_quantised_weights_become_floats(dtype: str) -> None:
    stored = np.array([0, 1, 255], dtype)
    quantization = {"dtype": dtype, "scale": 0.5, "min": -2.0}
    entry = {"name": "a", "shape": [3], "dtype": "float32", "quantization": quantization}
    group = {"paths": ["1"], "weights": [entry]}
    weights = read_weights({"weightsManifest": [group]}, [stored.tobytes()])
    np.testing.assert_array_equal(weights["a"], np.array([-2.0, -1.5, 125.5], np.float32))
    assert weights["a"].dtype == np.float32


def test_half_floats_become_floats() -> None:
    stored = np.array([0.5, -3], np.float16)
    entry = {"name": "a", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}}
    group = {"paths": ["1"], "weights": [entry]}
    weights = read_weights({"weightsManifest": [group]}, [stored.tobytes()])
    np.testing.assert_array_equal(weights["a"], np.array([0.5, -3], np.float32))


def test_a_scalar_has_no_shape() -> None:
    weights = read_weights(
        {"weightsManifest": [manifest_group({"a": np.array(7, np.int32)})]},
        [np.int32(7).tobytes()],
    )
    assert weights["a"].shape == ()
    assert weights["a"] == 7


@pytest.mark.parametrize(("change", "message"), [(-4, "end before a"), (4, "4 bytes too many")])
def test_files_of_another_length_are_refused(change: int, message: str) -> None:
    data = bytes(12 + change)
    group = manifest_group({"a": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=message):
        read_weights({"weightsManifest": [group]}, [data])


def test_attributes_and_inputs() -> None:
    given = node(
        "a",
        "Some",
        ["b", "c:1", "^only_order"],
        n=3,
        ratio=0.5,
        yes=True,
        text="SAME",
        T="DT_FLOAT",
    )
    given["attr"] |= {
        "texts": {"list": {"s": ["QQ==", "Qg=="]}},
        "numbers": {"list": {"i": ["1", "2"]}},
        "none": {"list": {}},
        "shape": {"shape": {"dim": [{"size": "1"}, {"size": "-1"}, {}]}},
        "value": {"tensor": {}},
        "function": {"func": {}},
    }
    described, shards = document([given], {})
    made = read_graph(described, shards).nodes["a"]
    assert made.inputs == ("b", "c:1")
    assert made.kind == "Some"
    assert made.attributes == {
        "n": 3,
        "ratio": 0.5,
        "yes": True,
        "text": "SAME",
        "T": "DT_FLOAT",
        "texts": ["A", "B"],
        "numbers": [1, 2],
        "none": [],
        "shape": [1, -1, -1],
        "function": None,
    }
