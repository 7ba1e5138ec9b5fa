"""What must be in the environment before NumPy is imported.

OpenBLAS and OpenMP size their thread pools then. ``prepare`` is therefore the first thing that
``service.__main__`` does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Every pixel runs in the service's own executor: a second pool of threads would fight with it.
THREADS: Final[Mapping[str, str]] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKIO_WORKER_THREADS": "1",  # obstore's: it waits for the picture library's store
}


def prepare() -> None:
    """Sets what is missing; what the user has set stays."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
