"""The operator's rules for tenants, from a TOML or JSON file: every mistake at once, by its place.

    [logos.acme]
    file = "acme.png"
    corner = "top-right"

    [default]
    max_width = 1280

    [tenants.acme]
    effect = {type = "image", background = "acme-lobby"}
    lock = "background"
    logo = "acme"

A member that a tenant leaves out is that of `default`. Read once, at the start.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from service.errors import InvalidField, NotAllowed, SettingsError
from service.policy.effects import (
    BACKGROUND_NAME,
    BACKGROUND_NAME_LIMIT,
    EFFECT_TYPES,
    SESSION_BACKGROUND,
    Image,
    parse_effect,
)
from service.policy.rules import (
    MAX_BACKGROUNDS,
    NUMBERS,
    TENANT_LIMIT,
    TENANT_NAME,
    Lock,
    Rules,
    Tenants,
)

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES: Final = 1 << 20
MAX_TENANTS: Final = 4096
MAX_LOGOS: Final = 64
RULE_FIELDS: Final = ("allowed_effects", "effect", "lock", "backgrounds", "logo", *NUMBERS)
# field: least, most, default
LOGO_NUMBERS: Final[Mapping[str, tuple[float, float, float]]] = {
    "width": (0.02, 0.4, 0.12),
    "margin": (0.0, 0.2, 0.03),
    "opacity": (0.05, 1.0, 1.0),
}
LOGO_FIELDS: Final = ("file", "corner", *LOGO_NUMBERS)


class Corner(Enum):
    """Where a logo is."""

    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"


@dataclass(frozen=True, slots=True)
class LogoSpec:
    """A picture in a corner. Lengths are shares of the frame's longer side."""

    file: Path
    corner: Corner = Corner.BOTTOM_RIGHT
    width: float = LOGO_NUMBERS["width"][2]
    margin: float = LOGO_NUMBERS["margin"][2]
    opacity: float = LOGO_NUMBERS["opacity"][2]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the file says."""

    tenants: Tenants = field(default_factory=Tenants)
    logos: Mapping[str, LogoSpec] = field(default_factory=dict)


def read_policy(path: Path) -> Policy:
    """The file's policy; raises SettingsError, a line for each mistake."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{path}: has more than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode()
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # of TOML, JSON and UTF-8 alike
        raise SettingsError(
            f"{path}: is not readable as TOML, or JSON by its suffix: {exc}"
        ) from exc
    try:
        return parse_policy(tree, folder=path.parent)
    except SettingsError as exc:
        lines = str(exc).splitlines()
        raise SettingsError("\n".join(f"{path}: {line}" for line in lines)) from None


def parse_policy(tree: object, *, folder: Path) -> Policy:
    """The policy of a file's tree; `folder` is what the files of logos are relative to."""
    problems: list[str] = []
    top = _table(tree, "", ("logos", "default", "tenants"), problems)
    logos: dict[str, LogoSpec] = {}
    for name, value in _named(top.get("logos", {}), "logos", MAX_LOGOS, problems).items():
        logos[name] = _logo(value, f"logos.{name}", folder, problems)
    default = _rules(top.get("default", {}), "default", Rules(), logos, problems)
    tenants: dict[str, Rules] = {}
    for name, value in _named(top.get("tenants", {}), "tenants", MAX_TENANTS, problems).items():
        tenants[name] = _rules(value, f"tenants.{name}", default, logos, problems)
    if problems:
        raise SettingsError("\n".join(problems))
    return Policy(Tenants(default, tenants, logos), logos)


def _logo(value: object, place: str, folder: Path, problems: list[str]) -> LogoSpec:
    table = _table(value, place, LOGO_FIELDS, problems)
    file = table.get("file")
    if not isinstance(file, str) or not (folder / file).is_file():
        problems.append(f"{place}.file: must name a PNG or WebP file that is there")
    corner = table.get("corner", Corner.BOTTOM_RIGHT.value)
    if corner not in [one.value for one in Corner]:
        names = ", ".join(one.value for one in Corner)
        problems.append(f"{place}.corner: must be one of {names}")
        corner = Corner.BOTTOM_RIGHT.value
    numbers = {
        name: _share(table.get(name, default), f"{place}.{name}", least, most, problems)
        for name, (least, most, default) in LOGO_NUMBERS.items()
    }
    return LogoSpec(folder / str(file), Corner(corner), **numbers)


def _share(value: object, place: str, least: float, most: float, problems: list[str]) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or math.isnan(value) or not least <= value <= most:  # type: ignore[arg-type, operator]
        problems.append(f"{place}: must be a number from {least:g} to {most:g}")
        return least
    return float(value)  # type: ignore[arg-type]


def _rules(
    value: object, place: str, base: Rules, logos: Mapping[str, LogoSpec], problems: list[str]
) -> Rules:
    table = _table(value, place, RULE_FIELDS, problems)
    found: dict[str, Any] = {}
    for name, parse in _PARSERS.items():
        if name not in table:
            continue
        try:
            found[name] = parse(table[name])
        except (InvalidField, NotAllowed, ValueError) as exc:
            text = exc.message if isinstance(exc, InvalidField) else str(exc)
            problems.append(
                f"{place}.{exc.field if isinstance(exc, InvalidField) else name}: {text}"
            )
    limits = dict(base.limits)
    for name, (least, most, _) in NUMBERS.items():
        number = table.get(name, most)
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            problems.append(f"{place}.{name}: must be a whole number from {least} to {most}")
        elif name in table:
            limits[name] = number
    if (logo := table.get("logo")) is not None:
        if isinstance(logo, str) and logo in logos:
            found["logo"] = logo
        else:
            problems.append(f"{place}.logo: must be one of logos")
    rules = dataclasses.replace(base, limits=limits, **found)
    _contradictions(rules, place, problems)
    return rules


def _contradictions(rules: Rules, place: str, problems: list[str]) -> None:
    """What each member allows alone, and two together do not."""
    if rules.lock is not Lock.NOTHING and rules.effect is None:
        problems.append(f"{place}.lock: needs an effect beside it")
    if rules.effect is not None:
        try:
            dataclasses.replace(rules, lock=Lock.NOTHING).require(rules.effect)
        except NotAllowed as exc:
            problems.append(f"{place}.effect: {exc}")
        if isinstance(rules.effect, Image) and rules.effect.background == SESSION_BACKGROUND:
            problems.append(f"{place}.effect.background: must be a picture of the library")
    if rules.logo is not None and rules.allowed_effects == {"none"}:
        problems.append(f"{place}.logo: is drawn with an effect, and only none is allowed")


def _effects(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(one in EFFECT_TYPES for one in value):
        raise ValueError(f"must be a list of one or more of {', '.join(EFFECT_TYPES)}")
    return frozenset(value)


def _lock(value: object) -> Lock:
    try:
        return Lock(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(one.value for one in Lock)}") from None


def parse_backgrounds(value: object) -> frozenset[str]:
    """A list of picture names; raises ValueError with the limit."""
    if not isinstance(value, list) or len(value) > MAX_BACKGROUNDS:
        raise ValueError(f"must be a list of {MAX_BACKGROUNDS} names at most")
    for name in value:
        if not isinstance(name, str) or BACKGROUND_NAME.fullmatch(name) is None:
            raise ValueError(f"names: each {BACKGROUND_NAME_LIMIT}")
    return frozenset(value)


_PARSERS: Final[Mapping[str, Callable[[object], object]]] = {
    "allowed_effects": _effects,
    "effect": parse_effect,
    "lock": _lock,
    "backgrounds": parse_backgrounds,
}


def _table(
    value: object, place: str, fields: tuple[str, ...], problems: list[str]
) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        problems.append(f"{place or 'the file'}: must be a table")
        return {}
    for name in value:
        if name not in fields:
            where = f"{place}.{str(name)[:64]}".removeprefix(".")
            problems.append(f"{where}: is not a field, which are {', '.join(fields)}")
    return value


def _named(value: object, place: str, most: int, problems: list[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or len(value) > most:
        problems.append(f"{place}: must be a table of {most} entries at most")
        return {}
    problems += [
        f"{place}.{str(name)[:64]}: its name {TENANT_LIMIT}"
        for name in value
        if not isinstance(name, str) or TENANT_NAME.fullmatch(name) is None
    ]
    return value
