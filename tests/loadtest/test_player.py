"""The player: every frame once, in time, and back to a keyframe when asked."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiortc.mediastreams import MediaStreamError

from loadtest.player import Player

if TYPE_CHECKING:
    from loadtest.clip import EncodedClip


@pytest.fixture
def fast(clip: EncodedClip) -> EncodedClip:
    """The clip at a rate at which nobody waits."""
    return replace(clip, fps=1000)


async def play(player: Player, count: int) -> list[int]:
    first = len(player.played)
    for _ in range(count):
        await player.recv()
    return player.played[first:]


async def test_it_loops_behind_the_lead_in(fast: EncodedClip) -> None:
    player = Player(fast)
    player.start()
    frames = await play(player, len(fast.frames) + 2)
    assert frames == [*range(len(fast.frames)), fast.loop_from, fast.loop_from + 1]


async def test_it_ends_where_it_does_not_loop(fast: EncodedClip) -> None:
    player = Player(fast, loop=False)
    player.start()
    await play(player, len(fast.frames))
    assert not player.ended.is_set()
    with pytest.raises(MediaStreamError):
        await player.recv()
    assert player.ended.is_set()


async def test_a_keyframe_request_plays_on_from_the_last_one(fast: EncodedClip) -> None:
    player = Player(fast)
    player.start()
    await play(player, 65)
    player.rewind()
    assert await play(player, 2) == [60, 61]
    assert player.rewinds == 1


async def test_a_request_before_the_first_frame_changes_nothing(fast: EncodedClip) -> None:
    player = Player(fast)
    player.rewind()
    player.start()
    assert await play(player, 1) == [0]


async def test_frames_come_at_their_time(clip: EncodedClip) -> None:
    player = Player(replace(clip, fps=100))
    player.start()
    started_s = time.monotonic()
    await play(player, 11)
    assert time.monotonic() - started_s >= 0.099
    assert [len(player.played)] == [11]


async def test_timestamps_go_on_when_it_rewinds(fast: EncodedClip) -> None:
    player = Player(fast)
    player.start()
    packets = [await player.recv() for _ in range(3)]
    player.rewind()
    packets.append(await player.recv())
    assert [packet.pts for packet in packets] == [0, 1, 2, 3]
    assert bytes(packets[3]) == fast.frames[0]


async def test_a_stopped_player_gives_nothing(fast: EncodedClip) -> None:
    player = Player(fast)
    player.start()
    player.stop()
    with pytest.raises(MediaStreamError):
        await player.recv()
