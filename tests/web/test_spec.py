"""A session's JSON and its value say the same, and its token can hold it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import InvalidField
from service.policy.effects import ALL, Blur, Color, Image, Nothing
from service.policy.tokens import Tokens
from service.session.session import SessionSpec
from service.web.spec import MAX_METADATA_BYTES, MAX_TTL_S, NUMBERS, parse_spec, spec_json

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
effects = (
    st.builds(Blur, strength=fractions, edge=fractions)
    | st.builds(Image, st.from_regex(r"[a-z0-9][a-z0-9_-]{50,63}", fullmatch=True), edge=fractions)
    | st.just(Color("#abcdef"))
    | st.just(Nothing())
)
specs = st.builds(
    SessionSpec,
    effect=effects,
    allowed_effects=st.just(ALL),
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
    effect=Image("b" * 64, edge=0.12345678901234567),
    allowed_effects=ALL,
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
