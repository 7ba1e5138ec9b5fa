"""`python -m tests.acceptance.report`: the whole table, every clip, both codecs, whole length.

test_loopback.py asserts on a part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from loadtest.client import clients_on_loopback
from loadtest.clip import Codec
from tests.acceptance.mattes import MatteClip, Verdict, mattes, table
from tests.running import ROOT, running


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.report", description=__doc__)
    parser.add_argument(
        "--media",
        type=Path,
        default=os.environ.get("BACKCLOTH_TEST_MEDIA", ROOT.parent / "shared" / "media"),
    )
    parser.add_argument("--seconds", type=float, help="of each clip (default: all)")
    parser.add_argument("--codec", type=Codec, action="append", help="h264 or vp8; default both")
    chosen = parser.parse_args()
    clips_found = mattes(Path(chosen.media))
    if not clips_found:
        sys.stderr.write(f"no clips with an alpha in {chosen.media}/matte\n")
        return 1
    clients_on_loopback()
    with running(MAX_SESSIONS="50", CPU_CORES="20", LOWEST_QUALITY="full") as service:
        verdicts = asyncio.run(
            _judge_all(service.url, clips_found, chosen.codec or list(Codec), chosen.seconds)
        )
    sys.stdout.write(table(verdicts) + "\n")
    return 0


async def _judge_all(
    url: str, videos: list[Path], codecs: list[Codec], seconds: float | None
) -> list[Verdict]:
    verdicts = []
    for codec in codecs:
        for video in videos:
            clip = await asyncio.to_thread(MatteClip.load, video, seconds)
            verdicts.append(await clip.judge(url, codec))
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
