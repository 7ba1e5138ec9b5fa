"""What a platform may ask of a session: JSON -> SessionSpec, and back.

Three things are read so: POST /v1/sessions, the signed token that opens a session again on another
server, and the claims of a token that a platform signed itself. All are held against the rules of
their tenant. The limits are those of docs/api.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from service.errors import InvalidField, NotAllowed
from service.policy.effects import (
    ALLOWED_BY_DEFAULT,
    BACKGROUND_NAME,
    BACKGROUND_NAME_LIMIT,
    DEFAULT_EFFECT,
    EFFECT_TYPES,
    SESSION_BACKGROUND,
    Effect,
    Image,
    effect_json,
    effect_type,
    parse_effect,
)
from service.policy.policy_file import parse_backgrounds
from service.policy.rules import (
    MAX_TTL_S,
    NUMBERS,
    TENANT_LIMIT,
    TENANT_NAME,
    Lock,
    Rules,
    Tenants,
    require_background,
    stricter,
)
from service.session.spec import AwaySpec, SessionSpec
from service.web.endpoints import WAYS

__all__ = ["MAX_TTL_S", "NUMBERS", "parse_narrower", "parse_spec", "spec_json"]

NO_RULES: Final = Tenants()

MAX_AWAY_AFTER_S: Final = 3600
MAX_METADATA_ENTRIES: Final = 16
MAX_METADATA_KEY_CHARS: Final = 64
MAX_METADATA_VALUE_CHARS: Final = 256
# The token holds the metadata, and a token has a limit: service.policy.tokens.MAX_TOKEN_CHARS.
MAX_METADATA_BYTES: Final = 2048
FIELDS: Final = frozenset(
    {"effect", "allowed_effects", "away", "audio", "metadata", "tenant", "lock", "backgrounds"}
    | {"logo", *NUMBERS}
)
# What the holder of a platform's token may ask for: all else is for the platform to say.
HOLDER_FIELDS: Final = frozenset({"effect", "away", "audio", *NUMBERS})
AWAY_FIELDS: Final = ("after_s", "background")


def parse_spec(body: Mapping[str, object], tenants: Tenants = NO_RULES) -> SessionSpec:
    """The session that a JSON object asks for; raises InvalidField or NotAllowed."""
    for name in body:
        if name in WAYS:
            raise InvalidField(name, "is for a platform key to say, in POST /v1/sessions")
        if name not in FIELDS:
            raise InvalidField(name[:64], f"is not a field, which are {', '.join(sorted(FIELDS))}")
    tenant = _tenant(body)
    rules = tenants.rules(tenant)
    logo = _logo(body, rules, tenants)
    allowed = _allowed_effects(body, rules, logo)
    backgrounds = _backgrounds(body, rules)
    audio = body.get("audio", True)
    if not isinstance(audio, bool):
        raise InvalidField("audio", "must be true or false")
    effect = _effect(body, allowed, rules)
    rules.require(effect)
    require_background(effect, backgrounds)
    away = _away(body)
    if backgrounds is not None and away.background not in (None, *backgrounds):
        raise InvalidField("away.background", "must be one of the session's backgrounds")
    return SessionSpec(
        effect=effect,
        allowed_effects=allowed,
        away=away,
        audio=audio,
        max_width=_number(body, "max_width", rules),
        max_height=_number(body, "max_height", rules),
        max_fps=_number(body, "max_fps", rules),
        ttl_s=_number(body, "ttl_s", rules),
        metadata=_metadata(body),
        tenant=tenant,
        lock=stricter(rules.lock, _lock(body)),
        backgrounds=backgrounds,
        logo=logo,
    )


def parse_narrower(
    body: Mapping[str, object], granted: SessionSpec, tenants: Tenants = NO_RULES
) -> SessionSpec:
    """The session that the holder of a token asks for, within what the token grants.

    Raises InvalidField or NotAllowed.
    """
    for name in body:
        if name in FIELDS - HOLDER_FIELDS:
            raise InvalidField(name, "is for the platform to say, in the token")
    for name in NUMBERS:
        _whole(
            body.get(name, getattr(granted, name)),
            name,
            least=NUMBERS[name][0],
            most=getattr(granted, name),
        )
    spec = parse_spec({**spec_json(granted), **body}, tenants)
    if not granted.lock.keeps(granted.effect, spec.effect):
        raise NotAllowed(f"the session's {granted.lock.value} is locked")
    if granted.lock is not Lock.NOTHING and spec.away != granted.away:
        raise NotAllowed(f"the session's {granted.lock.value} is locked, and away with it")
    if spec.audio and not granted.audio:
        raise InvalidField("audio", "must be false: the token grants none")
    return spec


def spec_json(spec: SessionSpec) -> dict[str, object]:
    """A session's JSON, complete: ``parse_spec`` reads back an equal one."""
    return {
        "effect": effect_json(spec.effect),
        "allowed_effects": sorted(spec.allowed_effects),
        "away": away_json(spec.away),
        "audio": spec.audio,
        "max_width": spec.max_width,
        "max_height": spec.max_height,
        "max_fps": spec.max_fps,
        "ttl_s": spec.ttl_s,
        "metadata": dict(spec.metadata),
        **policy_json(spec),
    }


def policy_json(spec: SessionSpec) -> dict[str, object]:
    """The members of a session's JSON that hold whoever uses it."""
    return {
        "tenant": spec.tenant,
        "lock": spec.lock.value,
        "backgrounds": None if spec.backgrounds is None else sorted(spec.backgrounds),
        "logo": spec.logo,
    }


def away_json(away: AwaySpec) -> dict[str, object]:
    """The JSON of `away`, complete."""
    return {"after_s": away.after_s, "background": away.background}


def _tenant(body: Mapping[str, object]) -> str:
    tenant = body.get("tenant")
    if tenant is None or tenant == "":
        return ""
    if not isinstance(tenant, str) or TENANT_NAME.fullmatch(tenant) is None:
        raise InvalidField("tenant", TENANT_LIMIT)
    return tenant


def _logo(body: Mapping[str, object], rules: Rules, tenants: Tenants) -> str | None:
    logo = body.get("logo")
    if logo is None or logo == rules.logo:
        return rules.logo
    if rules.logo is not None:
        raise NotAllowed("the tenant's logo is drawn, and no other")
    if not isinstance(logo, str) or logo not in tenants.logos:
        raise InvalidField("logo", "must be one of the logos of the server's policy file")
    return logo


def _lock(body: Mapping[str, object]) -> Lock:
    lock = body.get("lock")
    if lock is None:
        return Lock.NOTHING
    if not isinstance(lock, str) or lock not in [one.value for one in Lock]:
        raise InvalidField("lock", f"must be one of {', '.join(one.value for one in Lock)}")
    return Lock(lock)


def _backgrounds(body: Mapping[str, object], rules: Rules) -> frozenset[str] | None:
    if body.get("backgrounds") is None:
        return rules.backgrounds
    try:
        names = parse_backgrounds(body["backgrounds"])
    except ValueError as exc:
        raise InvalidField("backgrounds", str(exc)) from None
    if rules.backgrounds is not None and not names <= rules.backgrounds:
        allowed = ", ".join(sorted(rules.backgrounds)) or "none"
        raise NotAllowed(f"the tenant's backgrounds are: {allowed}")
    return names


def _allowed_effects(body: Mapping[str, object], rules: Rules, logo: str | None) -> frozenset[str]:
    names = body.get("allowed_effects")
    if names is None:
        if not (allowed := ALLOWED_BY_DEFAULT & rules.allowed_effects):
            raise InvalidField(
                "allowed_effects", "must be given: the tenant's are none and packed alone"
            )
        return allowed
    known = isinstance(names, list) and all(
        isinstance(name, str) and name in EFFECT_TYPES for name in names
    )
    if not known or not isinstance(names, list) or not names:
        raise InvalidField(
            "allowed_effects", f"must be a list of one or more of {', '.join(EFFECT_TYPES)}"
        )
    if not rules.allowed_effects.issuperset(names):
        allowed_here = ", ".join(sorted(rules.allowed_effects))
        raise NotAllowed(f"the tenant's effects are: {allowed_here}")
    if logo is not None and "none" in names:
        raise InvalidField("allowed_effects", "must not have none: the logo is drawn by an effect")
    return frozenset(names)


def _effect(body: Mapping[str, object], allowed: frozenset[str], rules: Rules) -> Effect:
    if body.get("effect") is None:
        default = rules.effect or DEFAULT_EFFECT
        if effect_type(default) not in allowed:
            raise InvalidField(
                "effect", f"must be given where allowed_effects leaves out {effect_type(default)}"
            )
        return default
    effect = parse_effect(body["effect"], allowed=allowed)
    if isinstance(effect, Image) and effect.background == SESSION_BACKGROUND:
        raise InvalidField(
            "effect.background",
            f"cannot begin as {SESSION_BACKGROUND!r}: that picture is put once the session is open",
        )
    return effect


def _away(body: Mapping[str, object]) -> AwaySpec:
    away = body.get("away")
    if away is None:
        return AwaySpec()
    if not isinstance(away, Mapping):
        raise InvalidField("away", f"must be an object of {' and '.join(AWAY_FIELDS)}")
    for name in away:
        if name not in AWAY_FIELDS:
            raise InvalidField(
                f"away.{str(name)[:64]}", f"is not a field, which are {' and '.join(AWAY_FIELDS)}"
            )
    after_s = _whole(
        away.get("after_s", AwaySpec().after_s), "away.after_s", least=1, most=MAX_AWAY_AFTER_S
    )
    background = away.get("background")
    if background is None:
        return AwaySpec(after_s)
    if not isinstance(background, str) or BACKGROUND_NAME.fullmatch(background) is None:
        raise InvalidField("away.background", f"{BACKGROUND_NAME_LIMIT}, or be null")
    if background == SESSION_BACKGROUND:
        raise InvalidField(
            "away.background",
            f"must be a picture of the library: {SESSION_BACKGROUND!r} is put later, if at all",
        )
    return AwaySpec(after_s, background)


def _number(body: Mapping[str, object], name: str, rules: Rules) -> int:
    least, _, default = NUMBERS[name]
    most = rules.most(name)
    return _whole(body.get(name, min(default, most)), name, least=least, most=most)


def _whole(value: object, field: str, *, least: int, most: int) -> int:
    # bool is an int in Python, and JSON's true is not a number.
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidField(field, f"must be a whole number from {least} to {most}")
    return value


def _metadata(body: Mapping[str, object]) -> Mapping[str, str]:
    metadata = body.get("metadata", {})
    limit = (
        f"must be an object of {MAX_METADATA_ENTRIES} entries at most, its names 1 to "
        f"{MAX_METADATA_KEY_CHARS} characters, its values text of {MAX_METADATA_VALUE_CHARS} "
        "characters at most"
    )
    if not isinstance(metadata, Mapping) or len(metadata) > MAX_METADATA_ENTRIES:
        raise InvalidField("metadata", limit)
    for key, value in metadata.items():
        if not isinstance(value, str) or len(value) > MAX_METADATA_VALUE_CHARS:
            raise InvalidField("metadata", limit)
        if not 1 <= len(key) <= MAX_METADATA_KEY_CHARS:
            raise InvalidField("metadata", limit)
    # Escaped, as it stands in the token: a character outside ASCII is 6 or 12 bytes there.
    if len(json.dumps(dict(metadata)).encode()) > MAX_METADATA_BYTES:
        raise InvalidField("metadata", f"must be at most {MAX_METADATA_BYTES} bytes as JSON")
    return dict(metadata)
