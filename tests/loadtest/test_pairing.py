"""Pairing: the right frames are found, whatever the server's timestamps and however late it is."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING

from loadtest.pairing import LOOKS_AGAIN_S, LOOKS_PER_NUMBER, WANTED_READINGS, Pairing

if TYPE_CHECKING:
    from loadtest.clip import EncodedClip


def sent_at(number: int) -> int | None:
    return number


def test_a_late_server_is_found_out(clip: EncodedClip) -> None:
    pairing = Pairing(clip)
    for count, data in enumerate(clip.frames[:WANTED_READINGS]):
        assert not pairing.known
        # The first frame back is the seventh that was sent.
        pairing.look(count, data, lambda number: number + 7)
    assert pairing.known
    assert pairing.over
    assert pairing.shift == 7
    assert (pairing.verified, pairing.mispaired) == (0, 0)


def test_numbers_read_again_agree_or_put_it_right(clip: EncodedClip) -> None:
    pairing = Pairing(clip)
    for found, verified, mispaired in ((7, 0, 0), (7, 1, 0), (9, 1, 1), (9, 2, 1)):
        pairing.again()
        assert not pairing.over
        for count, data in enumerate(clip.frames[:WANTED_READINGS]):
            pairing.look(count, data, functools.partial(operator.add, found))
        assert pairing.over
        assert (pairing.shift, pairing.verified, pairing.mispaired) == (found, verified, mispaired)


def test_numbers_that_never_come_again_change_nothing(clip: EncodedClip) -> None:
    pairing = Pairing(clip)
    for count, data in enumerate(clip.frames[:WANTED_READINGS]):
        pairing.look(count, data, sent_at)
    pairing.again()
    looks = 0
    while not pairing.over:
        pairing.look(looks, clip.frames[clip.loop_from], sent_at)
        looks += 1
    assert looks == LOOKS_AGAIN_S * clip.fps
    assert (pairing.known, pairing.shift, pairing.verified) == (True, 0, 0)


def test_readings_have_to_agree(clip: EncodedClip) -> None:
    pairing = Pairing(clip)
    for count, data in enumerate(clip.frames[:10]):
        pairing.look(count + count % 2 * 9, data, sent_at)
    assert not pairing.known


def test_it_starts_at_a_keyframe(clip: EncodedClip) -> None:
    pairing = Pairing(clip)
    for count, data in enumerate(clip.frames[5:20]):
        pairing.look(count, data, sent_at)  # nothing to decode, or grey pictures
    assert pairing.shift in (0, 5)


def test_where_nothing_can_be_read_first_is_paired_with_first(clip: EncodedClip) -> None:
    pairing = Pairing(clip)
    unnumbered = clip.frames[clip.loop_from :]
    for count in range(LOOKS_PER_NUMBER * clip.numbered):
        assert not pairing.over
        pairing.look(count, unnumbered[count % len(unnumbered)], sent_at)
    assert pairing.over
    assert not pairing.known
    assert pairing.shift == 0
