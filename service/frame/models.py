"""The neural networks: loaded once, checked, shared by every track.

The only importer of onnxruntime. models/manifest.toml says what each shipped file is, and
models/fetched/manifest.toml the same of those that an operator has fetched; a file whose bytes, or
a graph whose tensors, differ from it is refused. What every session needs is loaded when the
service starts, the rest when it is asked for. faces.py and person/ give a network its picture and
read what comes out.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

# From 1.29 on, onnxruntime's wheels for Linux report to its maker (the machine, names and hashes of
# models) unless this is set when they are imported. Nobody who runs the service asked for that.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

from service.errors import ModelError, ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

MANIFEST_NAME = "manifest.toml"
FETCHABLE_NAME = "fetchable.toml"
"""Beside the shipped manifest: which further networks there are to fetch."""
FETCHED_FOLDER = "fetched"
"""Of the folder of shipped networks: where fetched ones lie, with a manifest of their own."""
SERVED = ("selfie_landscape", "selfie_general", "blazeface_short")
"""What a live session needs; other networks load when they are asked for."""

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
    states: tuple[Tensor, ...]
    """Further float32 inputs: what the run before gave in its last outputs."""
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
        self._state_shapes = [state.shape[1:] for state in card.states]

    def run(
        self, image: NDArray[np.uint8], *state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], ...]:
        """Runs the network on one RGB picture of exactly `shape`, values 0..255.

        state: for a network that remembers, what the run before returned in its last outputs, or
        `first_state`; float32, without their batch axis.

        Returns the outputs in the manifest's order and without their batch axis, as arrays that
        belong to the caller. A contiguous picture is not copied. Raises ValueError for arrays of
        another shape or type.
        """
        if image.shape != self.shape or image.dtype != np.uint8:
            raise ValueError(f"{self.name} takes {_array('uint8', self.shape)}, not {_of(image)}")
        feeds: dict[str, NDArray[Any]] = {self.card.image.name: image[np.newaxis]}
        if state or self._state_shapes:
            feeds.update(self._state_feeds(state))
        return tuple(output[0] for output in self._session.run(self._output_names, feeds))

    def first_state(self) -> tuple[NDArray[np.float32], ...]:
        """The state of a network that has seen nothing yet; empty for one that remembers nothing.

        Zeros of the shapes that `run` takes, the caller's own.
        """
        return tuple(np.zeros(shape, np.float32) for shape in self._state_shapes)

    def _state_feeds(self, state: tuple[NDArray[np.float32], ...]) -> dict[str, NDArray[Any]]:
        if len(state) != len(self._state_shapes):
            raise ValueError(
                f"{self.name} takes {len(self._state_shapes)} arrays of state, not {len(state)}"
            )
        feeds = {}
        for tensor, shape, values in zip(self.card.states, self._state_shapes, state, strict=True):
            if values.shape != shape or values.dtype != np.float32:
                raise ValueError(
                    f"{self.name} takes {tensor.name} as {_array('float32', shape)}, "
                    f"not {_of(values)}"
                )
            feeds[tensor.name] = values[np.newaxis]
        return feeds


class Models:
    """Networks by name, from any number of threads.

    Those named to `load` are there from the start; any other is loaded, once, when it is asked
    for, which takes tens of milliseconds. Running needs no lock.
    """

    def __init__(self, directory: Path, shipped: Mapping[str, Card]) -> None:
        self._directory = directory
        self._shipped = dict(shipped)
        self._networks: dict[str, Network] = {}
        self._load_seconds: dict[str, float] = {}
        self._loading = threading.Lock()

    @classmethod
    def load(cls, directory: Path, names: Iterable[str] = SERVED) -> Models:
        """Loads networks from the folder of the manifest, or from its folder of fetched ones.

        Raises ModelError, which names the file, when one is missing, unknown or not what its
        manifest says; ModelUnavailable when one is still to be fetched.
        """
        models = cls(directory, read_manifest(directory))
        models.require(names)
        return models

    @property
    def load_seconds(self) -> Mapping[str, float]:
        """How long each network that is loaded took to load."""
        return MappingProxyType(dict(self._load_seconds))

    def __getitem__(self, name: str) -> Network:
        """A network; loads it where it is not loaded. Raises as `load` does."""
        network = self._networks.get(name)
        return self._load(name) if network is None else network

    def require(self, names: Iterable[str]) -> None:
        """Loads what is not loaded yet. Raises as `load` does."""
        for name in names:
            self[name]

    def available(self) -> frozenset[str]:
        """The networks that are loaded, or whose file is there to be loaded; loads none."""
        installed = {
            name
            for name, (path, _) in installed_networks(self._directory, self._shipped).items()
            if path.is_file()
        }
        return frozenset(installed | self._networks.keys())

    def _load(self, name: str) -> Network:
        with self._loading:
            network = self._networks.get(name)
            if network is None:  # another thread may have been faster
                path, card = self._find(name)
                started = time.perf_counter()
                network = _load(path, card)
                self._load_seconds[name] = time.perf_counter() - started
                self._networks[name] = network
            return network

    def _find(self, name: str) -> tuple[Path, Card]:
        if name in self._shipped:  # without a look at what was fetched
            return self._directory / self._shipped[name].file, self._shipped[name]
        installed = installed_networks(self._directory, self._shipped)
        if name in installed:
            return installed[name]
        if name in fetchable_names(self._directory):
            raise ModelUnavailable(name)
        known = ", ".join(installed)
        raise ModelError(f"{self._directory / MANIFEST_NAME} has no model {name!r}, only {known}")


def installed_networks(
    directory: Path, shipped: Mapping[str, Card]
) -> dict[str, tuple[Path, Card]]:
    """File and card of each network that is shipped in a folder or was fetched into it.

    What was fetched is read anew each time: a network may be fetched while the service runs. A
    shipped network cannot be replaced by one that was fetched. Raises ModelError when the manifest
    of what was fetched cannot be read.
    """
    fetched = directory / FETCHED_FOLDER
    found = {}
    if (fetched / MANIFEST_NAME).exists():
        found = {name: (fetched / card.file, card) for name, card in read_manifest(fetched).items()}
    here = {name: (directory / card.file, card) for name, card in shipped.items()}
    return here | {name: place for name, place in found.items() if name not in here}


def fetchable_names(directory: Path) -> tuple[str, ...]:
    """The networks that can be fetched into a folder; none where it has no list of them."""
    try:
        document = tomllib.loads((directory / FETCHABLE_NAME).read_text(encoding="utf-8"))
        return tuple(str(entry["name"]) for entry in document["model"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{directory / FETCHABLE_NAME}: cannot be read: {error!r}") from error


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
    image, *states = entry["input"]
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
        states=tuple(_tensor(state) for state in states),
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
    _check_tensors(path, "input", (card.image, *card.states), session.get_inputs())
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


def _of(values: NDArray[Any]) -> str:
    return _array(str(values.dtype), values.shape)


def _array(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype} {'x'.join(str(size) for size in shape)}"


def _described(name: str, shape: Iterable[int | str | None], dtype: str) -> str:
    return f"{name} {dtype} [{', '.join(str(size) for size in shape)}]"
