"""Effects: what is one, what is not, and that JSON and value say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidField, NotAllowed
from service.policy.effects import (
    ALL,
    ALLOWED_BY_DEFAULT,
    DEFAULT_EFFECT,
    EVERYONE,
    MODELS,
    MOST_PEOPLE,
    SPEAKER,
    Blur,
    Color,
    Effect,
    Fit,
    Image,
    Nothing,
    Packed,
    effect_json,
    effect_type,
    parse_effect,
)

fractions = st.floats(min_value=0, max_value=1)
models = st.sampled_from(MODELS)
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
colors = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
people = st.sampled_from([EVERYONE, SPEAKER]) | st.integers(1, MOST_PEOPLE)
matte = (models, fractions, people, fractions, fractions, fractions)
effects = st.one_of(
    st.builds(Blur, fractions, *matte, fractions),
    st.builds(Image, names, st.sampled_from(Fit), *matte),
    st.builds(Color, colors, *matte),
    st.builds(Packed, models, fractions, people, fractions, fractions),
    st.just(Nothing()),
)


@given(effects)
def test_json_reads_back_as_the_same_effect(effect: Effect) -> None:
    assert parse_effect(effect_json(effect)) == effect
    assert effect_type(effect) in ALL


def test_defaults() -> None:
    assert parse_effect({"type": "blur"}) == DEFAULT_EFFECT
    assert Blur(0.6, "hybrid", 0.5, "everyone", 0.0, 0.0, 0.0, 0.0) == DEFAULT_EFFECT
    assert parse_effect({"type": "image", "background": "library"}) == Image("library")
    assert parse_effect({"type": "color", "color": "#00FF7f"}) == Color("#00ff7f")
    assert parse_effect({"type": "blur", "strength": 1}) == Blur(1.0)


@given(effects)
def test_an_effect_of_before_people_and_light_wrap_keeps_its_meaning(effect: Effect) -> None:
    old = effect_json(effect)
    for name in ("people", "light_wrap", "falloff", "framing", "light"):
        old.pop(name, None)
    read = effect_json(parse_effect(old))
    assert {**read, **old} == read
    assert read.get("people", "everyone") == "everyone"
    assert read.get("light_wrap", 0.0) == 0.0


@pytest.mark.parametrize("value", ["everyone", "speaker", 1, 8])
def test_people(value: str | int) -> None:
    effect = parse_effect({"type": "blur", "people": value})
    assert isinstance(effect, Blur)
    assert effect.people == value


def test_every_model_may_be_named() -> None:
    for name in ("hybrid", "selfie", "blazeface", "facemesh", "posenet", "bodypix", "rvm"):
        effect = parse_effect({"type": "color", "color": "#000000", "model": name})
        assert isinstance(effect, Color)
        assert effect.model == name


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "effect"),
        ([], "effect"),
        ("blur", "effect"),
        ({}, "effect.type"),
        ({"type": "sepia"}, "effect.type"),
        ({"type": ["blur"]}, "effect.type"),
        ({"type": "blur", "strength": 1.01}, "effect.strength"),
        ({"type": "blur", "strength": -0.01}, "effect.strength"),
        ({"type": "blur", "strength": True}, "effect.strength"),
        ({"type": "blur", "strength": "0.5"}, "effect.strength"),
        ({"type": "blur", "strength": None}, "effect.strength"),
        ({"type": "blur", "strength": float("nan")}, "effect.strength"),
        ({"type": "blur", "strength": float("inf")}, "effect.strength"),
        ({"type": "blur", "strength": 10**400}, "effect.strength"),
        ({"type": "blur", "edge": 2}, "effect.edge"),
        ({"type": "blur", "model": "best"}, "effect.model"),
        ({"type": "blur", "people": "nobody"}, "effect.people"),
        ({"type": "blur", "people": "2"}, "effect.people"),
        ({"type": "blur", "people": 0}, "effect.people"),
        ({"type": "blur", "people": 9}, "effect.people"),
        ({"type": "blur", "people": 2.0}, "effect.people"),
        ({"type": "blur", "people": True}, "effect.people"),
        ({"type": "blur", "people": None}, "effect.people"),
        ({"type": "blur", "people": ["speaker"]}, "effect.people"),
        ({"type": "blur", "light_wrap": 1.5}, "effect.light_wrap"),
        ({"type": "blur", "light_wrap": "1"}, "effect.light_wrap"),
        ({"type": "blur", "falloff": 1.5}, "effect.falloff"),
        ({"type": "color", "color": "#000000", "framing": -1}, "effect.framing"),
        ({"type": "none", "framing": 0.5}, "effect.framing"),
        ({"type": "blur", "light": "bright"}, "effect.light"),
        ({"type": "packed", "light_wrap": 0}, "effect.light_wrap"),
        ({"type": "packed", "color": "#000000"}, "effect.color"),
        ({"type": "color", "color": "#000000", "falloff": 1}, "effect.falloff"),
        ({"type": "blur", "color": "#000000"}, "effect.color"),
        ({"type": "blur", "mirror": True}, "effect.mirror"),
        ({"type": "image"}, "effect.background"),
        ({"type": "image", "background": ""}, "effect.background"),
        ({"type": "image", "background": "../secret"}, "effect.background"),
        ({"type": "image", "background": "Library"}, "effect.background"),
        ({"type": "image", "background": "library\n"}, "effect.background"),
        ({"type": "image", "background": "a" * 65}, "effect.background"),
        ({"type": "image", "background": "a", "fit": "fill"}, "effect.fit"),
        ({"type": "color"}, "effect.color"),
        ({"type": "color", "color": "red"}, "effect.color"),
        ({"type": "color", "color": "#12345"}, "effect.color"),
        ({"type": "color", "color": "#123456\n"}, "effect.color"),
        ({"type": "none", "edge": 0.5}, "effect.edge"),
        ({"type": "none", "people": "everyone"}, "effect.people"),
    ],
)
def test_what_is_no_effect_names_the_field(value: Any, field: str) -> None:
    with pytest.raises(InvalidField) as raised:
        parse_effect(value)
    assert raised.value.field == field


def test_a_long_unknown_field_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidField) as raised:
        parse_effect({"type": "none", "x" * 10_000: 1})
    assert len(str(raised.value)) < 300


def test_an_effect_that_is_not_allowed() -> None:
    with pytest.raises(NotAllowed, match="allows: blur, image, color"):
        parse_effect({"type": "none"}, allowed=ALLOWED_BY_DEFAULT)
    with pytest.raises(NotAllowed, match="allows: blur, image, color"):
        parse_effect({"type": "packed"}, allowed=ALLOWED_BY_DEFAULT)
    assert parse_effect({"type": "none"}, allowed=ALL) == Nothing()
    assert parse_effect({"type": "packed"}, allowed=ALL) == Packed()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_an_effect_or_a_domain_error(value: Any) -> None:
    for candidate in (
        value,
        {"type": "blur", "strength": value},
        {"type": "color", "color": value},
        {"type": "blur", "people": value},
    ):
        try:
            effect = parse_effect(candidate)
        except InvalidField:
            continue
        assert parse_effect(effect_json(effect)) == effect
