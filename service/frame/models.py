"""The neural networks: loaded once, checked, shared by every track.

The only importer of onnxruntime. models/manifest.toml says what each file is; a file whose bytes,
or a graph whose tensors, differ from it is refused when the service starts and not when the first
frame meets it. faces.py and person.py give a network its picture and read what comes out.
"""

from __future__ import annotations

import hashlib
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from service.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

MANIFEST_NAME = "manifest.toml"
SERVED = ("selfie_landscape", "selfie_general", "blazeface_short")
"""What a live session needs; the other networks of the manifest load on request."""

ONNXRUNTIME_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the manifest promises of an input or output."""

    name: str
    shape: tuple[int, ...]
    """The batch axis first, always 1."""
    dtype: str
    low: float
    high: float
    """Bounds of the values; infinite where the network sets none."""


@dataclass(frozen=True, slots=True)
class Card:
    """The manifest's entry of one network."""

    name: str
    purpose: str
    file: str
    sha256: str
    licence: str
    origin: str
    """Registry package, version and path inside it, as `package==version/path`."""
    parameters: int
    mflops: float
    """Millions of floating-point operations a run; a multiply-add counts as two."""
    image: Tensor
    outputs: tuple[Tensor, ...]


class Network:
    """One network, ready to run, from any number of threads at once."""

    def __init__(self, card: Card, session: onnxruntime.InferenceSession) -> None:
        self.card = card
        self.name = card.name
        self.shape = card.image.shape[1:]
        """Height, width and channels of the picture that `run` takes."""
        self._session = session
        self._output_names = [output.name for output in card.outputs]

    def run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Runs the network on one RGB picture of exactly `shape`, values 0..255.

        Returns the outputs in the manifest's order and without their batch axis, as arrays that
        belong to the caller. A contiguous picture is not copied.
        """
        if image.shape != self.shape or image.dtype != np.uint8:
            expected = "x".join(str(size) for size in self.shape)
            found = "x".join(str(size) for size in image.shape)
            raise ValueError(f"{self.name} takes uint8 {expected}, not {image.dtype} {found}")
        feeds = {self.card.image.name: image[np.newaxis]}
        return tuple(output[0] for output in self._session.run(self._output_names, feeds))


class Models:
    """Networks by name. Loading takes milliseconds each; running needs no lock."""

    def __init__(self, networks: Mapping[str, Network], load_seconds: Mapping[str, float]) -> None:
        self._networks = dict(networks)
        self.load_seconds = MappingProxyType(dict(load_seconds))

    @classmethod
    def load(cls, directory: Path, names: Iterable[str] = SERVED) -> Models:
        """Loads networks from the folder of the manifest.

        Raises ModelError, which names the file, when one is missing, unknown or not what the
        manifest says.
        """
        cards = read_manifest(directory)
        networks, load_seconds = {}, {}
        for name in names:
            if name not in cards:
                known = ", ".join(cards)
                raise ModelError(f"{directory / MANIFEST_NAME} has no model {name!r}, only {known}")
            started = time.perf_counter()
            networks[name] = _load(directory / cards[name].file, cards[name])
            load_seconds[name] = time.perf_counter() - started
        return cls(networks, load_seconds)

    def __getitem__(self, name: str) -> Network:
        try:
            return self._networks[name]
        except KeyError:
            loaded = ", ".join(self._networks)
            raise ModelError(f"model {name!r} is not loaded, only {loaded}") from None


def read_manifest(directory: Path) -> dict[str, Card]:
    """The manifest of a folder by model name. Raises ModelError when it cannot be read."""
    path = directory / MANIFEST_NAME
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        cards = [_card(entry) for entry in document["model"]]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a manifest of models: {error!r}") from error
    return {card.name: card for card in cards}


def read_verified(path: Path, sha256: str) -> bytes:
    """A file's bytes, once their digest is known to be `sha256`; ModelError otherwise."""
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}), expected sha256 {sha256}"
        raise ModelError(message) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelError(f"{path}: sha256 is {digest}, expected {sha256}")
    return data


def _card(entry: Mapping[str, Any]) -> Card:
    file = str(entry["file"])
    if Path(file).name != file:
        raise ValueError(f"{file!r} is not a file of the manifest's own folder")
    (image,) = entry["input"]
    return Card(
        name=str(entry["name"]),
        purpose=str(entry["purpose"]),
        file=file,
        sha256=str(entry["sha256"]),
        licence=str(entry["licence"]),
        origin=f"{entry['origin']['package']}/{entry['origin']['path']}",
        parameters=int(entry["parameters"]),
        mflops=float(entry["mflops"]),
        image=_tensor(image),
        outputs=tuple(_tensor(output) for output in entry["output"]),
    )


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    low, high = entry["range"]
    return Tensor(
        name=str(entry["name"]),
        shape=tuple(int(size) for size in entry["shape"]),
        dtype=str(entry["dtype"]),
        low=float(low),
        high=float(high),
    )


def _load(path: Path, card: Card) -> Network:
    # onnxruntime gets the very bytes that were hashed, not the path: nothing to swap in between.
    data = read_verified(path, card.sha256)
    try:
        session = onnxruntime.InferenceSession(
            data, sess_options=_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own exceptions share no base of their own
        raise ModelError(f"{path}: onnxruntime cannot load it: {error}") from error
    _check_tensors(path, "input", (card.image,), session.get_inputs())
    _check_tensors(path, "output", card.outputs, session.get_outputs())
    return Network(card, session)


def _options() -> onnxruntime.SessionOptions:
    """One thread a run: tracks run side by side, so a second thread would only add hand-overs."""
    options = onnxruntime.SessionOptions()
    # ALL includes the blocked NCHWc layout, which more than halves the time of these networks.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A spinning thread counts as load although it does nothing; the CPU budget is what we sell.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _check_tensors(
    path: Path, kind: str, promised: Iterable[Tensor], found: Iterable[onnxruntime.NodeArg]
) -> None:
    expected = [_described(item.name, item.shape, item.dtype) for item in promised]
    names = {text: dtype for dtype, text in ONNXRUNTIME_TYPES.items()}
    actual = [_described(arg.name, arg.shape, names.get(arg.type, arg.type)) for arg in found]
    if expected != actual:
        raise ModelError(f"{path}: {kind} is {', '.join(actual)}, expected {', '.join(expected)}")


def _described(name: str, shape: Iterable[int | str | None], dtype: str) -> str:
    return f"{name} {dtype} [{', '.join(str(size) for size in shape)}]"
