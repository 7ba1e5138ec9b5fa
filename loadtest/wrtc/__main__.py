"""`python -m loadtest.wrtc` installs @roamhq/wrtc where `--client wrtc` finds it."""

from __future__ import annotations

import sys

from loadtest.wrtc.install import NotInstalled, install


def main() -> int:
    try:
        sys.stdout.write(f"{install()}\n")
    except NotInstalled as exc:
        sys.stderr.write(f"loadtest.wrtc: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
