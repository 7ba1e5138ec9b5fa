"""Files come from a package, an address or a path, bounded and verified."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from typing import TYPE_CHECKING

import obtain
import pytest
from obtain import File, ObtainError, from_address, from_package, from_path, weight_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = json.dumps({"weightsManifest": [{"paths": ["w1.bin", "w2.bin"]}]}).encode()


def wanted(path: str, data: bytes) -> File:
    return File(path, hashlib.sha256(data).hexdigest())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "some-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, data in (("package/a.json", b"first"), ("package/b.bin", b"second")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def fake_npm(folder: Path, script: str) -> Path:
    """A command called npm, for what a registry would have to answer."""
    path = folder / "bin" / "npm"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    return path.parent


def test_a_package_is_packed_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, archive: Path
) -> None:
    calls = tmp_path / "calls"
    script = f'echo "$@" >> {calls}; cp {archive} .'
    monkeypatch.setenv("PATH", f"{fake_npm(tmp_path, script)}:{os.environ['PATH']}")
    folder = tmp_path / "kept"
    folder.mkdir()
    files = [wanted("a.json", b"first"), wanted("b.bin", b"second")]
    assert from_package("some@1.0.0", files, folder) == [b"first", b"second"]
    assert from_package("some@1.0.0", files[1:], folder) == [b"second"]
    assert calls.read_text(encoding="ascii").split("\n") == [
        "pack --silent --ignore-scripts some@1.0.0",
        "",
    ]


def test_an_npm_that_fails_or_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = fake_npm(tmp_path, "echo noise >&2; echo 'code E404' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    with pytest.raises(ObtainError, match=r"npm pack some@1 failed: code E404"):
        from_package("some@1", [File("a.json")], tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ObtainError, match=r"npm is not installed.*--from: a\.json"):
        from_package("other@1", [File("a.json")], tmp_path)


def test_a_copy_of_the_package_will_do(archive: Path) -> None:
    assert from_path(archive, [wanted("b.bin", b"second")]) == [b"second"]
    with pytest.raises(ObtainError, match=r"the package has no c\.bin"):
        from_path(archive, [File("c.bin")])
    with pytest.raises(ObtainError, match=r"a\.json: sha256 is .*, expected 0000"):
        from_path(archive, [File("a.json", "0000")])


def test_files_beside_each_other_will_do(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(MODEL)
    (tmp_path / "w.bin").write_bytes(b"weights")
    files = [wanted("x/m.json", MODEL), wanted("x/w.bin", b"weights")]
    assert from_path(tmp_path / "m.json", files) == [MODEL, b"weights"]
    (tmp_path / "w.bin").write_bytes(b"others")
    with pytest.raises(ObtainError, match=r"x/w\.bin: sha256 is"):
        from_path(tmp_path / "m.json", files)


def test_a_model_json_names_its_weights(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(MODEL)
    with pytest.raises(ObtainError, match=r"w1\.bin: cannot be read: No such file"):
        from_path(tmp_path / "m.json", [File("model.json")])
    for number in (1, 2):
        (tmp_path / f"w{number}.bin").write_bytes(bytes([number]))
    assert from_path(tmp_path / "m.json", [File("model.json")]) == [MODEL, b"\1", b"\2"]
    (tmp_path / "whole.onnx").write_bytes(b"onnx")
    assert from_path(tmp_path / "whole.onnx", [File("model.json")]) == [b"onnx"]


@pytest.mark.parametrize("name", ["../w.bin", "/etc/passwd", "a/b.bin", "", ".."])
def test_weights_are_of_the_same_folder(name: str) -> None:
    described = json.dumps({"weightsManifest": [{"paths": [name]}]}).encode()
    with pytest.raises(ObtainError, match="not a file of its own folder"):
        weight_files(described)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"weightsManifest": 3}'])
def test_what_is_no_model_json_is_refused(text: bytes) -> None:
    with pytest.raises(ObtainError, match=r"not a TensorFlow\.js model\.json"):
        weight_files(text)


def test_large_files_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(obtain, "LARGEST_FILE_BYTES", 1 << 20)
    (tmp_path / "large.onnx").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ObtainError, match=r"large\.onnx has over 1 MiB"):
        from_path(tmp_path / "large.onnx", [File("model.json")])


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "some.tgz").write_bytes(b"no archive")
    with pytest.raises(ObtainError, match=r"some\.tgz: cannot be read"):
        from_path(tmp_path / "some.tgz", [File("a")])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A folder of this machine, served."""
    (tmp_path / "model.json").write_bytes(MODEL)
    (tmp_path / "w1.bin").write_bytes(b"one")
    with HTTPServer(("127.0.0.1", 0), lambda *a: _Quiet(*a, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_an_address_gives_the_weights_that_model_json_names(address: str, tmp_path: Path) -> None:
    with pytest.raises(ObtainError, match=r"w2\.bin cannot be had: .*--from"):
        from_address(address, [File("model.json")])
    (tmp_path / "w2.bin").write_bytes(b"two")
    assert from_address(address, [File("model.json")]) == [MODEL, b"one", b"two"]
