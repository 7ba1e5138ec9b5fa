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
    """Indices of the frames that are given out."""
    found = []
    for _ in range(count):
        await player.recv()
        found.append(player.playing)
    return found


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
    assert player.count == 11


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


async def test_numbers_are_played_again_on_demand_and_then_the_loop(fast: EncodedClip) -> None:
    told: list[int] = []
    player = Player(fast)
    player.on_replay = lambda: told.append(player.count)
    player.start()
    await play(player, 70)
    player.replay()
    numbered = fast.numbered  # less than what is replayed at this rate
    assert await play(player, numbered + 2) == [
        *range(numbered),
        fast.loop_from,
        fast.loop_from + 1,
    ]
    assert told == [70]


async def test_only_the_first_numbers_are_played_again(clip: EncodedClip) -> None:
    player = Player(replace(clip, fps=30))
    player.replay()
    assert player._leave_at == 21  # 0.7 s


async def test_numbers_come_again_at_a_seam_when_it_is_time(fast: EncodedClip) -> None:
    told: list[int] = []
    player = Player(fast, replay_every_s=0.0)
    player.on_replay = lambda: told.append(player.count)
    player.start()
    frames = await play(player, len(fast.frames) + fast.numbered + 1)
    assert frames[len(fast.frames) :] == [*range(fast.numbered), fast.loop_from]
    assert told == [len(fast.frames)]
    later = Player(fast, replay_every_s=3600.0)
    later.start()
    assert (await play(later, len(fast.frames) + 1))[-1] == fast.loop_from
