"""The operator's file: what it says, and each mistake by its place and limit, all at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidField, NotAllowed, SettingsError
from service.policy.effects import Blur, Color, Image
from service.policy.policy_file import MAX_FILE_BYTES, Corner, parse_policy, read_policy
from service.policy.rules import Lock, Rules, Tenants, stricter

ROOT = Path(__file__).parents[2]

WHOLE = """
[logos.acme]
file = "acme.png"
corner = "top-left"
width = 0.1
margin = 0
opacity = 0.5

[default]
max_width = 1280
allowed_effects = ["blur", "image"]

[tenants.acme]
effect = {type = "image", background = "lobby"}
lock = "background"
backgrounds = ["lobby", "bookshelf"]
logo = "acme"
max_fps = 15

[tenants.plain]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "acme.png").touch()
    return tmp_path


def test_a_whole_file(folder: Path) -> None:
    path = folder / "policy.toml"
    path.write_text(WHOLE)
    policy = read_policy(path)
    logo = policy.logos["acme"]
    assert (logo.file, logo.corner) == (folder / "acme.png", Corner.TOP_LEFT)
    assert (logo.width, logo.margin, logo.opacity) == (0.1, 0.0, 0.5)
    acme = policy.tenants.rules("acme")
    assert acme == Rules(
        allowed_effects=frozenset({"blur", "image"}),
        effect=Image("lobby"),
        lock=Lock.BACKGROUND,
        backgrounds=frozenset({"lobby", "bookshelf"}),
        logo="acme",
        limits={"max_width": 1280, "max_fps": 15},
    )
    assert (acme.most("max_width"), acme.most("max_fps"), acme.most("max_height")) == (
        1280,
        15,
        1920,
    )
    assert policy.tenants.rules("plain") == policy.tenants.rules("")
    with pytest.raises(InvalidField, match="tenant is not one"):
        policy.tenants.rules("acne")


def test_the_same_in_json(folder: Path) -> None:
    path = folder / "policy.json"
    path.write_text(json.dumps({"tenants": {"acme": {"max_width": 640}}}))
    assert read_policy(path).tenants.rules("acme").most("max_width") == 640


def test_without_tenants_any_name_has_the_default_rules() -> None:
    assert Tenants(Rules(logo="a")).rules("anybody").logo == "a"


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ([], "the file: must be a table"),
        ({"tenant": {}}, "tenant: is not a field, which are logos, default, tenants"),
        ({"tenants": []}, "tenants: must be a table of 4096 entries at most"),
        ({"tenants": {"A": {}}}, "tenants.A: its name must be 1 to 64"),
        ({"tenants": {"a": 1}}, "tenants.a: must be a table"),
        ({"tenants": {"a": {"max_with": 1}}}, "tenants.a.max_with: is not a field"),
        ({"tenants": {"a": {"max_width": 63}}}, "tenants.a.max_width: must be a whole number"),
        ({"default": {"max_fps": 61}}, "default.max_fps: must be a whole number from 1 to 60"),
        ({"default": {"ttl_s": True}}, "default.ttl_s: must be a whole number from 10 to 86400"),
        ({"default": {"ttl_s": "1h"}}, "default.ttl_s: must be a whole number"),
        ({"default": {"allowed_effects": []}}, "default.allowed_effects: must be a list of one"),
        ({"default": {"allowed_effects": ["blurr"]}}, "default.allowed_effects: must be a list"),
        ({"default": {"allowed_effects": [[]]}}, "default.allowed_effects: must be a list"),
        ({"default": {"effect": {"type": "blur", "strength": 2}}}, "default.effect.strength: must"),
        ({"default": {"effect": "blur"}}, "default.effect: must be an object"),
        ({"default": {"lock": "all"}}, "default.lock: must be one of nothing, background, effect"),
        ({"default": {"lock": "effect"}}, "default.lock: needs an effect beside it"),
        ({"default": {"backgrounds": "lobby"}}, "default.backgrounds: must be a list of 16 names"),
        ({"default": {"backgrounds": ["../x"]}}, "default.backgrounds: names: each must be 1 to"),
        ({"default": {"backgrounds": ["a"] * 17}}, "default.backgrounds: must be a list of 16"),
        ({"default": {"logo": "nobody"}}, "default.logo: must be one of logos"),
        (
            {"default": {"effect": {"type": "blur"}, "allowed_effects": ["image"]}},
            "default.effect: the tenant's effects are: image",
        ),
        (
            {"default": {"effect": {"type": "image", "background": "x"}, "backgrounds": ["y"]}},
            "default.effect: the background 'x' is not allowed",
        ),
        (
            {"default": {"effect": {"type": "image", "background": "session"}}},
            "default.effect.background: must be a picture of the library",
        ),
        ({"logos": {"a": {}}}, "logos.a.file: must name a PNG or WebP file that is there"),
        ({"logos": {"a": {"file": "no.png"}}}, "logos.a.file: must name"),
        ({"logos": {"a": {"file": "acme.png", "corner": "middle"}}}, "logos.a.corner: must be one"),
        ({"logos": {"a": {"file": "acme.png", "corner": []}}}, "logos.a.corner: must be one"),
        ({"logos": {"a": {"file": "acme.png", "width": 0.5}}}, "logos.a.width: must be a number"),
        ({"logos": {"a": {"file": "acme.png", "opacity": float("nan")}}}, "logos.a.opacity: must"),
        (
            {
                "logos": {"a": {"file": "acme.png"}},
                "default": {"logo": "a", "allowed_effects": ["none"]},
            },
            "default.logo: is drawn with an effect",
        ),
    ],
)
def test_mistakes(folder: Path, tree: Any, problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_policy(tree, folder=folder)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(problem)


def test_all_mistakes_at_once_each_with_the_file(folder: Path) -> None:
    path = folder / "policy.json"
    path.write_text(json.dumps({"default": {"max_fps": 0}, "tenants": {"a": {"lock": 1}}}))
    with pytest.raises(SettingsError) as raised:
        read_policy(path)
    lines = str(raised.value).splitlines()
    assert [line.removeprefix(f"{path}: ").partition(":")[0] for line in lines] == [
        "default.max_fps",
        "tenants.a.lock",
    ]


@pytest.mark.parametrize("data", [b"[", b"\xff", b"x" * (MAX_FILE_BYTES + 1)])
@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_what_is_no_file_of_that_kind(folder: Path, data: bytes, suffix: str) -> None:
    path = folder / f"policy.{suffix}"
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=re.escape(str(path))):
        read_policy(path)


def test_the_documented_example_is_a_good_one(tmp_path: Path) -> None:
    text = (ROOT / "docs/operations.md").read_text()
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    (tmp_path / "acme.png").touch()
    path = tmp_path / "policy.toml"
    path.write_text(example[1])
    assert read_policy(path).tenants.rules("acme").logo == "acme"


def test_locks() -> None:
    blur, same_room = Blur(), Blur(edge=0.1, people=2, light_wrap=1.0, model="selfie")
    assert Lock.NOTHING.keeps(blur, Color("#000000"))
    assert Lock.BACKGROUND.keeps(blur, same_room)
    assert not Lock.BACKGROUND.keeps(blur, Blur(strength=0.1))
    assert not Lock.BACKGROUND.keeps(Color("#000000"), Color("#000001"))
    assert not Lock.EFFECT.keeps(blur, same_room)
    assert Lock.EFFECT.keeps(blur, Blur())
    assert stricter(Lock.EFFECT, Lock.BACKGROUND) is Lock.EFFECT
    assert stricter(Lock.NOTHING, Lock.BACKGROUND) is Lock.BACKGROUND


def test_rules_require() -> None:
    rules = Rules(effect=Image("a"), lock=Lock.BACKGROUND, backgrounds=frozenset({"a"}))
    rules.require(Image("a", edge=0.1))
    for effect in (Image("b"), Blur()):
        with pytest.raises(NotAllowed):
            rules.require(effect)
