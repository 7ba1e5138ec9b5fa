"""The npm package, at the version and with the hashes of package-lock.json, in the user's cache.

Nothing is fetched unless `install` is called. A changed lock file is another folder.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from loadtest import cache

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json")
TIMEOUT_S = 300
WORDS_OF_NPM = 2000


class NotInstalled(Exception):
    """Node, npm or the package is not there."""


def folder(lock: Path = HERE) -> Path:
    """Where the packages of that folder's lock file are, or would be."""
    digest = hashlib.sha256(b"".join((lock / name).read_bytes() for name in FILES))
    return cache.folder() / f"{lock.name}-{digest.hexdigest()[:16]}"


def found() -> tuple[str, Path]:
    """Node's path and the folder with node_modules. Raises NotInstalled."""
    node = _program("node")
    if not (folder() / "node_modules").is_dir():
        raise NotInstalled("@roamhq/wrtc is not installed: python -m loadtest.wrtc")
    return node, folder()


def install(lock: Path = HERE) -> Path:
    """The folder, filled by `npm ci` where it was not there. Raises NotInstalled."""
    npm = _program("npm")
    _program("node")
    where = folder(lock)
    if (where / "node_modules").is_dir():
        return where
    where.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where.parent) as made:
        for name in FILES:
            shutil.copy(lock / name, made)
        try:
            # The binaries come as packages: no script of anybody's has to run.
            subprocess.run(  # noqa: S603
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=made,
                check=True,
                capture_output=True,
                timeout=TIMEOUT_S,
            )
        except subprocess.CalledProcessError as exc:
            words = exc.stderr.decode(errors="replace")[-WORDS_OF_NPM:].strip()
            raise NotInstalled(f"npm ci failed: {words}") from exc
        except subprocess.TimeoutExpired as exc:
            raise NotInstalled(f"npm ci took longer than {TIMEOUT_S} s") from exc
        # Whole or not at all, also when two install at once.
        try:
            Path(made).rename(where)
        except OSError as exc:
            if not (where / "node_modules").is_dir():
                raise NotInstalled(str(exc)) from exc
            return where
        Path(made).mkdir()  # for the context manager to remove
    return where


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NotInstalled(f"{name} is not on the PATH")
    return path
