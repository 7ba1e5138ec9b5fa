"""The image, built from the Dockerfile on this machine: buildah on a base that debootstrap makes.

No image registry is asked. Debian 12 has the Python for which the wheels are locked, and stands in
for the slim Python image that the Dockerfile names; what differs is the base alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
SUITE: Final = "bookworm"
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
BASE: Final = "localhost/backcloth-test-base:latest"
TAG: Final = "localhost/backcloth-test:latest"
BASE_TIMEOUT_S: Final = 600
WHEELS_TIMEOUT_S: Final = 300
BUILD_TIMEOUT_S: Final = 600
TIMEOUT_S: Final = 120


def missing() -> str | None:
    """Why no image can be built here; None where it can."""
    if os.geteuid() != 0:
        return "building an image with chroot isolation needs root"
    for tool in ("buildah", "debootstrap", "runc"):
        if shutil.which(tool) is None:
            return f"no {tool} (Debian: apt-get install buildah debootstrap runc)"
    return None


def cache_folder() -> Path:
    """Where the base is kept between runs; its name tells what it was made of."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "backcloth-tests"


@dataclass(frozen=True, slots=True)
class Builder:
    """buildah with a store of its own below `folder`."""

    folder: Path

    @property
    def command(self) -> list[str]:
        store = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run"]
        return ["buildah", *store, "--storage-driver", "vfs"]

    def __call__(self, *arguments: str) -> str:
        return run([*self.command, *arguments], TIMEOUT_S)

    def tool(self) -> Path:
        """buildah with this store as one command, for scripts/image."""
        path = self.folder / "buildah"
        path.write_text(f'#!/bin/sh\nexec {" ".join(self.command)} "$@"\n')
        path.chmod(0o755)
        return path

    def make_base(self) -> None:
        """The base image, from the cache or from debootstrap."""
        made_of = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
        archive = cache_folder() / f"base-{made_of}.tar"
        if not archive.exists():
            _debootstrap(self.folder / "debian", archive)
        container = self("from", "scratch").strip()
        self("add", "--quiet", container, str(archive), "/")
        self("commit", "--quiet", container, BASE)
        self("rm", container)

    def build(self, wheels: Path, *, tag: str = TAG) -> None:
        """The image, by the project's own script, from the wheels of the lock alone."""
        run(
            [
                str(ROOT / "scripts/image"),
                tag,
                *("--isolation", "chroot", "--pull=never", "--no-cache"),
                *("--build-arg", f"PYTHON_IMAGE={BASE}"),
                *("--build-context", f"wheels={wheels}", "--build-arg", "PIP_NO_INDEX=1"),
            ],
            BUILD_TIMEOUT_S,
            CONTAINER_TOOL=str(self.tool()),
        )

    def mounted(self, tag: str = TAG) -> Path:
        """The files of a container that is made from the image."""
        container = self("from", "--pull=never", tag).strip()
        return Path(self("mount", container).strip())

    def inspect(self, tag: str = TAG) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self("inspect", "--type", "image", tag))
        return told

    def size_bytes(self, tag: str) -> int:
        """Of all layers, unpacked."""
        listed = json.loads(self("images", "--json", tag))
        text: str = listed[0]["size"]
        number, unit = text.split()
        return int(float(number) * {"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def download_wheels(folder: Path) -> None:
    """The wheels of the lock, by pip as it is set up on this machine."""
    run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--python-version", "3.11"),
            *("--require-hashes", "-r", "requirements/runtime.txt", "--dest", str(folder)),
        ],
        WHEELS_TIMEOUT_S,
    )


def run(command: Sequence[str], timeout_s: float, **environ: str) -> str:
    """A command in the repository's folder; its output. Raises with what it said."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: exit {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def _debootstrap(folder: Path, archive: Path) -> None:
    included = "--include=" + ",".join(PACKAGES)
    run(["debootstrap", "--variant=minbase", included, SUITE, str(folder)], BASE_TIMEOUT_S)
    for downloaded in (*folder.glob("var/cache/apt/**/*.deb"), *folder.glob("var/lib/apt/lists/*")):
        if downloaded.is_file():
            downloaded.unlink()
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial")
    run(["tar", "-C", str(folder), "-cf", str(partial), "."], TIMEOUT_S)
    partial.rename(archive)
    shutil.rmtree(folder)
