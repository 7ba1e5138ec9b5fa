"""Pairing: the right frames are found, whatever the server's timestamps and however late it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.pairing import LOOKS_PER_NUMBER, WANTED_READINGS, Pairing

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
