"""A session's JSON and its value say the same, and its token can hold it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import InvalidField
from service.policy.effects import (
    ALL,
    EVERYONE,
    MOST_PEOPLE,
    SPEAKER,
    Blur,
    Color,
    Image,
    Nothing,
)
from service.policy.tokens import Tokens
from service.session.spec import AwaySpec, SessionSpec
from service.web.spec import (
    MAX_AWAY_AFTER_S,
    MAX_METADATA_BYTES,
    MAX_TTL_S,
    NUMBERS,
    parse_spec,
    spec_json,
)

NOW = 1_800_000_000.5
# As long as the registry makes them.
SESSION_ID = "s" * 22


def fitting(metadata: dict[str, str]) -> dict[str, str]:
    """As many of the entries as the limit in bytes lets in."""
    kept: dict[str, str] = {}
    for key, value in metadata.items():
        if len(json.dumps({**kept, key: value})) <= MAX_METADATA_BYTES:
            kept[key] = value
    return kept


# Of up to 12 bytes each in JSON, and lone surrogates among them.
characters = st.characters(categories=None) | st.sampled_from('\u2603\U0001f600\x00"')
fractions = st.floats(0, 1)
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{50,63}", fullmatch=True)
people = st.sampled_from([EVERYONE, SPEAKER]) | st.integers(1, MOST_PEOPLE)
effects = (
    st.builds(Blur, strength=fractions, edge=fractions, people=people, falloff=fractions)
    | st.builds(Image, names, edge=fractions, light_wrap=fractions)
    | st.just(Color("#abcdef"))
    | st.just(Nothing())
)
specs = st.builds(
    SessionSpec,
    effect=effects,
    allowed_effects=st.just(ALL),
    away=st.builds(AwaySpec, st.integers(1, MAX_AWAY_AFTER_S), st.none() | names),
    audio=st.booleans(),
    **{name: st.integers(least, most) for name, (least, most, _) in NUMBERS.items()},
    metadata=st.dictionaries(
        st.text(characters, min_size=1, max_size=64),
        st.text(characters, max_size=256),
        max_size=16,
    ).map(fitting),
)


# To the last byte.
LARGEST_METADATA = {"a": "\U0001f600" * 169 + "x" * 11}
# As long a token as there is.
LARGEST = SessionSpec(
    effect=Image(
        "b" * 64,
        model="blazeface",
        edge=0.12345678901234567,
        light_wrap=0.12345678901234567,
        framing=0.12345678901234567,
        light=0.12345678901234567,
    ),
    allowed_effects=ALL,
    away=AwaySpec(MAX_AWAY_AFTER_S, "c" * 64),
    audio=False,
    max_width=1920,
    max_height=1920,
    max_fps=60,
    ttl_s=MAX_TTL_S,
    metadata=LARGEST_METADATA,
)


@given(specs)
@example(LARGEST)
def test_what_is_accepted_goes_through_a_token_and_back(spec: SessionSpec) -> None:
    assert parse_spec(spec_json(spec)) == spec
    tokens = Tokens([b"s" * 32])
    token = tokens.mint(SESSION_ID, spec_json(spec), now=NOW, expires_at=NOW + spec.ttl_s)
    assert parse_spec(tokens.verify(token, now=NOW).spec) == spec


def test_metadata_is_bounded_in_bytes() -> None:
    assert len(json.dumps(LARGEST_METADATA)) == MAX_METADATA_BYTES
    assert parse_spec({"metadata": LARGEST_METADATA}).metadata == LARGEST_METADATA
    with pytest.raises(InvalidField, match="metadata must be at most 2048 bytes as JSON"):
        parse_spec({"metadata": {"a": LARGEST_METADATA["a"] + "x"}})


def test_a_token_of_before_away_opens_a_session_with_its_defaults() -> None:
    old = spec_json(SessionSpec(effect=Blur()))
    del old["away"]
    assert parse_spec(old).away == AwaySpec(5, None)


@pytest.mark.parametrize("away", [None, {}, {"after_s": 5}, {"background": None}])
def test_away_has_defaults(away: object) -> None:
    assert parse_spec({"away": away}).away == AwaySpec()


@pytest.mark.parametrize(
    ("away", "field"),
    [
        ([], "away"),
        ("attic", "away"),
        ({"after_s": 0}, "away.after_s"),
        ({"after_s": 3601}, "away.after_s"),
        ({"after_s": 1.5}, "away.after_s"),
        ({"after_s": True}, "away.after_s"),
        ({"after_s": None}, "away.after_s"),
        ({"background": 1}, "away.background"),
        ({"background": "../attic"}, "away.background"),
        ({"background": "session"}, "away.background"),
        ({"effect": "blur"}, "away.effect"),
    ],
)
def test_what_is_no_away_names_the_field(away: object, field: str) -> None:
    with pytest.raises(InvalidField) as raised:
        parse_spec({"away": away})
    assert raised.value.field == field
