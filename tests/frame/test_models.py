"""The shipped networks are what the manifest says, and nothing else gets loaded."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from service.errors import ModelError, ModelUnavailable
from service.frame.models import (
    FETCHABLE_NAME,
    FETCHED_FOLDER,
    MANIFEST_NAME,
    SERVED,
    Models,
    Network,
    fetchable_names,
    read_manifest,
    read_verified,
)
from service.modelcards import MODELS_DIRECTORY
from tests.frame.portrait import astronaut
from tests.frame.remembering import remembering

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.model

NAMES = ("selfie_landscape", "selfie_general", "blazeface_short", "facemesh")
SHAPES = {
    "selfie_landscape": ((144, 256, 3), [(144, 256)]),
    "selfie_general": ((256, 256, 3), [(256, 256)]),
    "blazeface_short": ((128, 128, 3), [(896, 16), (896,)]),
    "facemesh": ((192, 192, 3), [(468, 3), (1,)]),
}


@pytest.fixture(scope="module")
def models() -> Models:
    return Models.load(MODELS_DIRECTORY, NAMES)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder of its own with the manifest and one network, to be spoilt."""
    for name in (MANIFEST_NAME, "blazeface_short.onnx"):
        shutil.copy(MODELS_DIRECTORY / name, tmp_path / name)
    return tmp_path


def standing(height: int, width: int) -> NDArray[np.uint8]:
    """Head and shoulders standing at the bottom centre of a grey picture."""
    picture = np.full((height, width, 3), 128, np.uint8)
    side = min(height, width)
    person = cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    left = (width - side) // 2
    picture[height - side :, left : left + side] = person
    return picture


def edit_manifest(folder: Path, old: str, new: str) -> None:
    path = folder / MANIFEST_NAME
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_every_file_has_the_digest_of_the_manifest() -> None:
    cards = read_manifest(MODELS_DIRECTORY)
    assert tuple(cards) == NAMES
    for card in cards.values():
        data = read_verified(MODELS_DIRECTORY / card.file, card.sha256)
        assert hashlib.sha256(data).hexdigest() == card.sha256


def test_every_file_in_the_folder_is_in_the_manifest() -> None:
    files = {card.file for card in read_manifest(MODELS_DIRECTORY).values()}
    assert files == {path.name for path in MODELS_DIRECTORY.glob("*.onnx")}


@pytest.mark.parametrize("name", NAMES)
def test_licence_and_origin_are_named(name: str) -> None:
    card = read_manifest(MODELS_DIRECTORY)[name]
    assert card.licence == "Apache-2.0"
    assert card.origin.startswith("mediapipe==0.10.14/mediapipe/modules/")
    assert card.parameters > 100_000
    assert card.mflops > 60


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(models: Models, name: str) -> None:
    network = models[name]
    shape, output_shapes = SHAPES[name]
    assert network.name == name
    assert network.shape == shape
    outputs = network.run(np.zeros(shape, np.uint8))
    assert [output.shape for output in outputs] == output_shapes
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_in_the_range_of_the_manifest(models: Models, name: str) -> None:
    network = models[name]
    outputs = network.run(standing(*network.shape[:2]))
    for tensor, output in zip(network.card.outputs, outputs, strict=True):
        assert np.isfinite(output).all()
        assert tensor.low <= output.min()
        assert output.max() <= tensor.high


def test_landscape_segmentation_finds_the_person(models: Models) -> None:
    (person,) = models["selfie_landscape"].run(standing(144, 256))
    assert person[110, 120] > 0.9, "the chest"
    assert person[35, 120] > 0.9, "the face"
    assert person[:20, :20].max() < 0.1, "the far corner"
    assert person[:, -30:].max() < 0.1, "the grey side"


def test_general_segmentation_finds_the_person(models: Models) -> None:
    (person,) = models["selfie_general"].run(standing(256, 256))
    assert person[200, 110] > 0.9, "the chest"
    assert person[60, 112] > 0.9, "the face"
    assert person[5, 5] < 0.1


def test_facemesh_finds_the_face_in_its_crop(models: Models) -> None:
    face = cv2.resize(astronaut()[40:220, 135:315], (192, 192))
    points, presence = models["facemesh"].run(np.asarray(face, np.uint8))
    assert presence[0] > 0
    nose_tip = points[1, :2] / 192
    assert nose_tip == pytest.approx((0.48, 0.47), abs=0.06)


def test_threads_share_a_network(models: Models) -> None:
    network = models["blazeface_short"]
    generator = np.random.default_rng(3)
    pictures = [generator.integers(0, 256, network.shape, np.uint8) for _ in range(8)]
    alone = [network.run(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(network.run, pictures * 3))
    for expected, found in zip(alone * 3, together, strict=True):
        for left, right in zip(expected, found, strict=True):
            np.testing.assert_array_equal(left, right)


def test_results_belong_to_the_caller(models: Models) -> None:
    network = models["blazeface_short"]
    picture = standing(128, 128)
    before = picture.copy()
    first, _ = network.run(picture)
    kept = first.copy()
    network.run(np.zeros_like(picture))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(picture, before)


def test_the_picture_is_not_copied(models: Models) -> None:
    given: list[NDArray[np.uint8]] = []

    class Session:
        def run(self, names: list[str], feeds: dict[str, Any]) -> list[NDArray[np.float32]]:
            given.append(feeds["image"])
            return [np.zeros((1, 2), np.float32) for _ in names]

    network = Network(models["blazeface_short"].card, Session())
    picture = np.zeros((128, 128, 3), np.uint8)
    network.run(picture)
    assert given[0].shape == (1, 128, 128, 3)
    assert np.shares_memory(given[0], picture)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((144, 256, 4), np.uint8),
        np.zeros((256, 144, 3), np.uint8),
        np.zeros((1, 144, 256, 3), np.uint8),
        np.zeros((144, 256, 3), np.float32),
    ],
    ids=["four channels", "turned", "with a batch axis", "floats"],
)
def test_another_picture_is_refused(models: Models, picture: Any) -> None:
    with pytest.raises(ValueError, match="selfie_landscape takes uint8 144x256x3, not"):
        models["selfie_landscape"].run(picture)


def test_the_served_networks_load_by_default() -> None:
    models = Models.load(MODELS_DIRECTORY)
    assert tuple(models.load_seconds) == SERVED
    assert all(0 < seconds < 30 for seconds in models.load_seconds.values())


def test_other_networks_load_when_they_are_asked_for() -> None:
    models = Models.load(MODELS_DIRECTORY, [])
    assert not models.load_seconds
    assert models["facemesh"] is models["facemesh"]
    models.require(["facemesh", "blazeface_short"])
    assert [*models.load_seconds] == ["facemesh", "blazeface_short"]


def test_threads_that_ask_at_once_get_one_network() -> None:
    models = Models.load(MODELS_DIRECTORY, [])
    start = threading.Barrier(8)

    def ask(_: int) -> Network:
        start.wait()
        return models["blazeface_short"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert all(network is found[0] for network in found)


def test_what_is_available_is_told_without_loading(copied: Path) -> None:
    models = Models.load(copied, [])
    assert models.available() == {"blazeface_short"}, "the other files are not there"
    assert not models.load_seconds
    (copied / "blazeface_short.onnx").rename(copied / "elsewhere")
    assert models.available() == set()
    (copied / "elsewhere").rename(copied / "blazeface_short.onnx")
    models.require(["blazeface_short"])
    (copied / "blazeface_short.onnx").unlink()
    assert models.available() == {"blazeface_short"}, "it is loaded"


def test_a_network_that_is_to_be_fetched_says_how(copied: Path) -> None:
    shutil.copy(MODELS_DIRECTORY / FETCHABLE_NAME, copied)
    models = Models.load(copied, [])
    assert fetchable_names(copied) == ("posenet", "bodypix", "rvm", "mobilenet_v2")
    with pytest.raises(ModelUnavailable, match=r"python -m service models fetch posenet$"):
        models.require(["blazeface_short", "posenet"])
    with pytest.raises(ModelUnavailable, match=r"models fetch rvm$"):
        models["rvm"]
    with pytest.raises(ModelError, match=r"has no model 'yolo', only selfie_landscape"):
        models["yolo"]


def test_a_fetched_network_is_found_while_the_service_runs(copied: Path) -> None:
    shutil.copy(MODELS_DIRECTORY / FETCHABLE_NAME, copied)
    models = Models.load(copied, [])
    remembering(copied / FETCHED_FOLDER, "posenet")
    assert "posenet" in models.available()
    assert models["posenet"].name == "posenet"


def test_a_damaged_fetched_file_is_refused(copied: Path) -> None:
    remembering(copied / FETCHED_FOLDER, "posenet")
    with (copied / FETCHED_FOLDER / "posenet.onnx").open("ab") as stream:
        stream.write(b"\0")
    models = Models.load(copied, [])
    with pytest.raises(ModelError, match=r"fetched/posenet\.onnx: sha256 is .*, expected"):
        models["posenet"]
    (copied / FETCHED_FOLDER / MANIFEST_NAME).write_text("[[model]", encoding="utf-8")
    with pytest.raises(ModelError, match=r"fetched/manifest\.toml: not a manifest"):
        models["posenet"]
    assert models["blazeface_short"], "a shipped network needs nothing of what was fetched"


def test_a_fetched_network_takes_no_shipped_ones_place(copied: Path) -> None:
    remembering(copied / FETCHED_FOLDER, "blazeface_short")
    assert Models.load(copied, [])["blazeface_short"].shape == (128, 128, 3)


def test_state_is_carried_from_run_to_run(tmp_path: Path) -> None:
    remembering(tmp_path, "counter")
    network = Models.load(tmp_path, ["counter"])["counter"]
    (state,) = network.first_state()
    assert state.shape == (2, 3)
    assert state.dtype == np.float32
    assert not state.any()
    image = np.full((2, 3, 3), 7, np.uint8)
    for run in range(1, 4):
        total, state = network.run(image, state)
        assert (total == 7 * run).all()
        assert (state == 7 * run).all()
        assert state.shape == (2, 3)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((), "counter takes 1 arrays of state, not 0"),
        ((np.zeros((2, 3), np.float32),) * 2, "counter takes 1 arrays of state, not 2"),
        ((np.zeros((3, 2), np.float32),), "counter takes memory as float32 2x3, not float32 3x2"),
        ((np.zeros((2, 3)),), "counter takes memory as float32 2x3, not float64 2x3"),
    ],
    ids=["none", "too many", "shape", "type"],
)
def test_another_state_is_refused(tmp_path: Path, state: Any, message: str) -> None:
    remembering(tmp_path, "counter")
    network = Models.load(tmp_path, ["counter"])["counter"]
    with pytest.raises(ValueError, match=message):
        network.run(np.zeros((2, 3, 3), np.uint8), *state)


def test_state_for_a_network_that_has_none_is_refused(models: Models) -> None:
    network = models["blazeface_short"]
    assert network.first_state() == ()
    with pytest.raises(ValueError, match="blazeface_short takes 0 arrays of state, not 1"):
        network.run(np.zeros(network.shape, np.uint8), np.zeros(3, np.float32))


def test_a_list_of_fetchable_networks_that_is_none_is_refused(tmp_path: Path) -> None:
    assert fetchable_names(tmp_path) == ()
    (tmp_path / FETCHABLE_NAME).write_text("[[model]]\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"fetchable\.toml: cannot be read: KeyError"):
        fetchable_names(tmp_path)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelError, match=r"manifest\.toml has no model 'yolo', only selfie_"):
        Models.load(MODELS_DIRECTORY, ["yolo"])


def test_a_damaged_file_is_refused(copied: Path) -> None:
    path = copied / "blazeface_short.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    expected = read_manifest(copied)["blazeface_short"].sha256
    with pytest.raises(ModelError, match=rf"blazeface_short\.onnx: sha256 .* expected {expected}"):
        Models.load(copied, ["blazeface_short"])


def test_a_missing_file_is_refused(copied: Path) -> None:
    with pytest.raises(ModelError, match=r"facemesh\.onnx: cannot be read .* expected sha256 8d"):
        Models.load(copied, ["facemesh"])


def test_a_file_that_is_no_network_is_refused(copied: Path) -> None:
    path = copied / "blazeface_short.onnx"
    path.write_bytes(b"not a network")
    known = read_manifest(copied)["blazeface_short"].sha256
    edit_manifest(copied, known, hashlib.sha256(b"not a network").hexdigest())
    with pytest.raises(ModelError, match=r"blazeface_short\.onnx: onnxruntime cannot load it"):
        Models.load(copied, ["blazeface_short"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"boxes"', '"corners"', "output is boxes float32 .*, expected corners float32"),
        ("[1, 896, 16]", "[1, 896, 18]", r"expected boxes float32 \[1, 896, 18\]"),
        ("[1, 128, 128, 3]", "[1, 3, 128, 128]", r"input is image uint8 \[1, 128, 128, 3\]"),
        ('"uint8"', '"float32"', "input is image uint8 .*, expected image float32"),
    ],
    ids=["name", "output shape", "input shape", "type"],
)
def test_other_tensors_than_promised_are_refused(
    copied: Path, old: str, new: str, message: str
) -> None:
    edit_manifest(copied, old, new)
    with pytest.raises(ModelError, match=rf"blazeface_short\.onnx: .*{message}"):
        Models.load(copied, ["blazeface_short"])


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.toml: cannot be read: No such file"):
        Models.load(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["[[model]", "", "[[model]]\nname = 'x'", "model = 3", "\N{SNOWMAN}"],
    ids=["no TOML", "empty", "fields missing", "no table", "text"],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"manifest\.toml: not a manifest of models"):
        read_manifest(tmp_path)


def test_a_manifest_cannot_point_out_of_its_folder(copied: Path) -> None:
    edit_manifest(copied, '"facemesh.onnx"', '"../facemesh.onnx"')
    with pytest.raises(ModelError, match=r"'\.\./facemesh\.onnx' is not a file of the manifest's"):
        read_manifest(copied)


def test_onnxruntime_is_told_to_report_nothing(tmp_path: Path) -> None:
    """What it reports with, an identifier of the machine, is kept below the user's folder."""
    code = (
        "from pathlib import Path; from service.frame.models import Models;"
        "Models.load(Path('models'), ['blazeface_short'])"
    )
    # It keeps quiet by itself where it sees that it is tested.
    silent = ("CI", "GITHUB_ACTIONS", "ORT_RUNNING_UNIT_TESTS")
    environ = {name: value for name, value in os.environ.items() if name not in silent}
    environ |= {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "ORT_DISABLE_TELEMETRY": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=MODELS_DIRECTORY.parent,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not list(tmp_path.rglob("*"))
