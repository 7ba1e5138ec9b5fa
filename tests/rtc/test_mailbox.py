"""The bound between the event loop and the worker, and its drop rule."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from service.rtc.codecs import Codec
from service.rtc.jitter import EncodedFrame
from service.rtc.mailbox import Mailbox


def frame(number: int, *, keyframe: bool = False) -> EncodedFrame:
    return EncodedFrame(Codec.VP8, b"x", number, keyframe, 0.0)


def numbers(mailbox: Mailbox) -> list[int]:
    return [f.timestamp for f in mailbox.take()]


def test_frames_come_out_in_order_and_once() -> None:
    mailbox = Mailbox(4)
    assert all(mailbox.post(frame(n)) for n in range(3))
    assert numbers(mailbox) == [0, 1, 2]
    assert numbers(mailbox) == []
    assert mailbox.dropped == 0


def test_an_overflow_drops_up_to_the_next_keyframe() -> None:
    mailbox = Mailbox(2)
    results = [mailbox.post(frame(n)) for n in range(5)]
    assert results == [True, True, False, False, False]
    assert mailbox.post(frame(5, keyframe=True))
    assert mailbox.post(frame(6))
    assert numbers(mailbox) == [5, 6]
    assert mailbox.dropped == 5


def test_a_keyframe_takes_the_place_of_what_waits() -> None:
    mailbox = Mailbox(2)
    for n in range(2):
        mailbox.post(frame(n))
    assert mailbox.post(frame(2, keyframe=True))
    assert numbers(mailbox) == [2]
    assert mailbox.dropped == 2


@given(st.lists(st.sampled_from(["key", "delta", "take"]), max_size=200))
def test_what_comes_out_is_decodable_and_bounded(steps: list[str]) -> None:
    mailbox = Mailbox(3)
    mailbox.post(frame(0, keyframe=True))
    number, out = 0, list(mailbox.take())
    for step in steps:
        if step == "take":
            out += mailbox.take()
        else:
            number += 1
            mailbox.post(frame(number, keyframe=step == "key"))
        assert len(mailbox) <= 3
    out += mailbox.take()
    for before, after in itertools.pairwise(out):
        assert after.keyframe or after.timestamp == before.timestamp + 1
    assert len(out) + mailbox.dropped == number + 1
