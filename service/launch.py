"""The process environment that must stand before the interpreter starts.

glibc reads its malloc settings once, at the start of the process, and OpenBLAS and OpenMP size
their thread pools when NumPy is imported. ``prepare`` is therefore the first thing that
``service.__main__`` does: it sets what is missing and starts the same command again, once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Frames are large: by default glibc maps and unmaps each one, and every page of it faults anew.
# Most buffers here are pooled by now: docs/performance.md shows how little is left to gain.
MALLOC: Final[Mapping[str, str]] = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
# Every pixel runs in the service's own executor: a second pool of threads would fight with it.
THREADS: Final[Mapping[str, str]] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# In the environment of the second start: whatever goes wrong, there is no third.
MARKER: Final = "_BACKCLOTH_RELAUNCHED"


def prepare() -> None:
    """Sets the environment; does not return when the process is started again."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    missing = malloc_settings(os.environ, glibc=_is_glibc())
    if not missing:
        return
    os.environ.update(missing)
    os.environ[MARKER] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    # orig_argv has what sys.argv has lost: "-m service" and the interpreter's own options.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (our own command)


def malloc_settings(environ: Mapping[str, str], *, glibc: bool) -> dict[str, str]:
    """The malloc settings to start again with; none when there is no need to."""
    if not glibc or MARKER in environ:
        return {}
    return {name: value for name, value in MALLOC.items() if name not in environ}


def _is_glibc() -> bool:
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, OSError, ValueError):  # another system, or another C library
        return False
    return bool(version and version.startswith("glibc"))
