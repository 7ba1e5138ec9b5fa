"""The memory of answers is bounded."""

from __future__ import annotations

from service.web.idempotency import KEPT_S, MAX_ANSWERS, Answers, Fresh, Kept, Reused


def test_the_oldest_answer_goes_first() -> None:
    answers = Answers()
    for number in range(MAX_ANSWERS + 1):
        answers.keep("platform", str(number), b"", {"n": number}, now=0)
    assert answers.find("platform", "0", b"", now=0) == Fresh()
    assert answers.find("platform", "1", b"", now=0) == Kept({"n": 1})
    assert answers.find("platform", str(MAX_ANSWERS), b"", now=0) == Kept({"n": MAX_ANSWERS})


def test_an_answer_is_kept_for_a_time() -> None:
    answers = Answers()
    answers.keep("platform", "a", b"body", {}, now=100)
    assert answers.find("platform", "a", b"body", now=99 + KEPT_S) == Kept({})
    assert answers.find("platform", "a", b"other", now=99 + KEPT_S) == Reused()
    assert answers.find("other", "a", b"body", now=100) == Fresh()
    assert answers.find("platform", "a", b"body", now=100 + KEPT_S) == Fresh()
