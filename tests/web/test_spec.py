"""A session's JSON and its value say the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.policy.effects import ALL, Blur, Color, Nothing
from service.session.session import SessionSpec
from service.web.spec import NUMBERS, parse_spec, spec_json

specs = st.builds(
    SessionSpec,
    effect=st.sampled_from([Blur(0.25), Color("#abcdef"), Nothing()]),
    allowed_effects=st.just(ALL),
    audio=st.booleans(),
    **{name: st.integers(least, most) for name, (least, most, _) in NUMBERS.items()},
    metadata=st.dictionaries(st.text(min_size=1, max_size=64), st.text(max_size=256), max_size=16),
)


@given(specs)
def test_round_trip(spec: SessionSpec) -> None:
    assert parse_spec(spec_json(spec)) == spec
