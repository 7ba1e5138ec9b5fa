"""What a logo costs: `python -m tests.frame.logo_cost`, us of CPU, best of seven."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from service.frame.colour import Colour
from service.frame.logo import Logo, lay_out
from service.frame.planes import empty
from service.policy.policy_file import LogoSpec
from tests.policy.token_cost import cost_us

ROWS, COLUMNS = 384, 768


def main() -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (ROWS, COLUMNS, 4), np.uint8)
    logo = Logo(rgba, LogoSpec(Path("unread.png")))
    for size in ((640, 360), (1280, 720)):
        into = empty(*size, Colour())
        layout = lay_out(logo, size, Colour())
        drawn = cost_us(lambda into=into, layout=layout: layout.draw(into))  # type: ignore[misc]
        made = cost_us(lambda size=size: lay_out.__wrapped__(logo, size, Colour()))  # type: ignore[misc]
        sys.stdout.write(f"{size[0]}x{size[1]}  draw {drawn:.0f}  lay out {made:.0f}\n")


if __name__ == "__main__":
    main()
