"""models/fetch.py enters what it converts into a manifest that the service reads."""

from __future__ import annotations

import copy
import json
import multiprocessing
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from content import content_of
from fetch import FetchError, enter, fetch, fetchable
from manifest import HEADER, MANIFEST_NAME, Entry, Tensor, read, render
from onnx_graph import MINUS_ONE_TO_ONE
from tfjs_graph import convert, read_model
from tfjs_recipe import Output, Recipe

from service.fetch import read_fetchable
from service.frame.models import Models, fetchable_names, read_manifest
from service.modelcards import MODELS_DIRECTORY
from tests.models.made import document, node, random

if TYPE_CHECKING:
    from pathlib import Path

DESCRIBED: dict[str, Any] = {
    "name": "made",
    "purpose": "a test",
    "licence": "CC0-1.0",
    "normalisation": "-1..1",
    "source": {"package": "made@1.0.0", "files": [{"path": "m.json"}, {"path": "w.bin"}]},
    "image": {"source": "image", "shape": [1, 4, 6, 3]},
    "state": [{"name": "memory", "source": "before", "shape": [1, 2, 4, 6]}],
    "output": [
        {
            "name": "next",
            "source": "sum",
            "shape": [1, 2, 4, 6],
            "range": [float("-inf"), float("inf")],
            "meaning": "what is to be remembered",
        }
    ],
}


def files(**changed: np.ndarray[Any, Any]) -> list[bytes]:
    """A network that adds what it sees to what it remembers."""
    weights = {"kernel": random(1, 1, 3, 2), **changed}
    nodes = [
        node("image", "Placeholder"),
        node("before", "Placeholder"),
        node("conv", "Conv2D", ["image", "kernel"], strides=[1, 1, 1, 1], padding="SAME"),
        node("sum", "AddV2", ["conv", "before"]),
    ]
    described, shards = document(nodes, weights)
    return [json.dumps(described).encode(), *shards]


def entry(name: str) -> Entry:
    tensor = Tensor("image", (1, 2, 2, 3), "uint8", (0.0, 255.0), "RGB")
    return Entry(
        name, "a test", f"{name}.onnx", "00", "MIT", 1, 0.1, "p", "q", "11", (tensor,), (tensor,)
    )


def installed(folder: Path) -> Models:
    """What the service makes of a folder of fetched networks."""
    return Models.load(folder, ["made"])


def test_what_is_fetched_runs(tmp_path: Path) -> None:
    fetch(DESCRIBED, files(), tmp_path)
    network = installed(tmp_path)["made"]
    assert network.card.licence == "CC0-1.0"
    assert network.card.origin == "made@1.0.0/w.bin"
    (state,) = network.first_state()
    assert state.shape == (2, 4, 6)
    image = np.full((4, 6, 3), 255, np.uint8)
    (first,) = network.run(image, state)
    expected = random(1, 1, 3, 2)[0, 0].sum(0)
    np.testing.assert_allclose(first[:, 1, 1], expected, rtol=1e-5)
    (second,) = network.run(image, first)
    np.testing.assert_allclose(second, 2 * first, rtol=1e-6)
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["made.onnx"]
    assert not list(tmp_path.glob(".made*")), "no half a file"


def test_a_network_is_fetched_anew_in_place(tmp_path: Path) -> None:
    fetch(DESCRIBED, files(), tmp_path)
    before = read_manifest(tmp_path)["made"].sha256
    fetch(DESCRIBED, files(kernel=random(1, 1, 3, 2, seed=5)), tmp_path)
    assert [*read_manifest(tmp_path)] == ["made"]
    assert read_manifest(tmp_path)["made"].sha256 != before
    installed(tmp_path)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ([b"{}", b""], "the files do not hold the expected network: KeyError"),
        ([files()[0], b""], "the weight files end before kernel"),
        ([b"alert(1)", b""], "the module exports nothing"),
        ([b"no onnx"], "not an ONNX file"),
    ],
)
def test_other_files_change_nothing(tmp_path: Path, spoilt: list[bytes], message: str) -> None:
    with pytest.raises(FetchError, match=message):
        fetch(DESCRIBED, spoilt, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_weights_without_a_digest_of_their_file_are_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = read_model(json.loads(files()[0]), files()[1:])
    described = {key: value for key, value in DESCRIBED.items() if key != "state"}
    described["output"] = [{**DESCRIBED["output"][0], "source": "conv"}]
    output = Output("conv", "next", (1, 2, 4, 6))
    recipe = Recipe("made", "image", (1, 4, 6, 3), MINUS_ONE_TO_ONE, (output,))
    known = content_of(convert(source, recipe).model)
    verified = copy.deepcopy(described)
    verified["source"] |= {"weights_sha256": known.sha256, "weights_norm": known.norm}

    fetch(verified, files(), tmp_path)
    assert capsys.readouterr().err == ""
    assert f'origin.sha256 = "{known.sha256}"' in (tmp_path / MANIFEST_NAME).read_text("utf-8")

    rounded = np.nextafter(random(1, 1, 3, 2), np.float32(9))
    fetch(verified, files(kernel=rounded), tmp_path)
    assert "up to rounding" in capsys.readouterr().err

    with pytest.raises(FetchError, match=rf"not the known ones: .* expected {known.sha256}"):
        fetch(verified, files(kernel=rounded * np.float32(1.001)), tmp_path)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    shipped = read(MODELS_DIRECTORY)
    assert render(shipped) == (MODELS_DIRECTORY / MANIFEST_NAME).read_text(encoding="utf-8")
    text = render([entry("a"), entry("b")], "# another\n")
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8")
    assert read(tmp_path) == [entry("a"), entry("b")]
    assert HEADER not in text


def test_fetches_at_once_lose_no_entry(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(12)]
    with multiprocessing.get_context("fork").Pool(6) as processes:
        processes.starmap(enter, [(tmp_path, entry(name)) for name in names])
    assert sorted(item.name for item in read(tmp_path)) == sorted(names)


def test_the_service_and_the_converter_know_the_same_networks() -> None:
    known = fetchable()
    assert [*known] == ["posenet", "bodypix", "rvm", "mobilenet_v2"]
    assert [*read_fetchable(MODELS_DIRECTORY)] == [*known]
    assert fetchable_names(MODELS_DIRECTORY) == tuple(known)
    for described in known.values():
        pinned = all("sha256" in item for item in described["source"]["files"])
        assert pinned or "weights_sha256" in described["source"], "nothing comes in unverified"
        assert ("state" in described) == (described["name"] == "rvm")


def test_the_command_line_tells_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"{}")
    script = str(MODELS_DIRECTORY / "fetch.py")
    command = [sys.executable, script, "posenet", "--from", str(tmp_path / "m.json")]
    command += ["--output", str(tmp_path / "out")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("posenet: models/posenet.json: sha256 is")
    assert not (tmp_path / "out").exists()
