"""The person of the tests: scikit-image's astronaut, a public-domain portrait by NASA."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import skimage.data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def astronaut() -> NDArray[np.uint8]:
    """Head and shoulders, 512 x 512 RGB, a copy of the caller's own."""
    return cast("NDArray[np.uint8]", skimage.data.astronaut())  # type: ignore[no-untyped-call]
