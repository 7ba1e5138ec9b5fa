"""JSON Schemas (2020-12) of what requests hold and answers tell, from the parsers' own constants.

What is asked for is closed: a member that is not here is refused. What is told is open, because
more will be told; tests/web/openapi/test_live.py holds that nothing is told that is not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from service.policy.effects import (
    ALLOWED_BY_DEFAULT,
    BACKGROUND_NAME,
    COLOR,
    DEFAULT_EDGE,
    DEFAULT_FALLOFF,
    DEFAULT_FRAMING,
    DEFAULT_LIGHT,
    DEFAULT_LIGHT_WRAP,
    DEFAULT_MODEL,
    DEFAULT_STRENGTH,
    EFFECT_TYPES,
    EVERYONE,
    FIELDS,
    MODELS,
    MOST_PEOPLE,
    SESSION_BACKGROUND,
    SPEAKER,
    Fit,
)
from service.policy.levels import Level
from service.policy.rules import MAX_BACKGROUNDS, NUMBERS, TENANT_NAME, Lock
from service.rtc.figures import STAGES
from service.rtc.peer import PeerState
from service.session.session import State
from service.session.sfu import Cause, LineState
from service.session.spec import AwaySpec
from service.setting_text import MAX_URL_CHARS
from service.web.endpoints import MAX_BEARER_CHARS
from service.web.fleet import MAX_ENDED, MAX_ID_CHARS
from service.web.selection import CHOICES
from service.web.spec import (
    MAX_AWAY_AFTER_S,
    MAX_METADATA_BYTES,
    MAX_METADATA_ENTRIES,
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_VALUE_CHARS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]


def ref(name: str) -> Json:
    """One of `components()`."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: Json, required: Iterable[str] = ()) -> Json:
    """An object of a request."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def told(properties: Json, optional: Iterable[str] = ()) -> Json:
    """An object of an answer: every member is there, but for the optional ones."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": properties, "required": required}


def choice(names: Iterable[str], default: str | None = None) -> Json:
    schema: Json = {"type": "string", "enum": list(names)}
    return schema if default is None else schema | {"default": default}


def whole(least: int, most: int, default: int | None = None, description: str = "") -> Json:
    schema: Json = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    return schema | ({"description": description} if description else {})


def fraction(default: float, description: str) -> Json:
    return {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": default,
        "description": description,
    }


def nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


TEXT: Final[Json] = {"type": "string"}
SWITCH: Final[Json] = {"type": "boolean"}
COUNT: Final[Json] = {"type": "integer", "minimum": 0}
AMOUNT: Final[Json] = {"type": "number", "minimum": 0}
SECONDS: Final[Json] = {"type": "number", "description": "Unix seconds."}
BACKGROUND: Final[Json] = {
    "type": "string",
    "pattern": f"^{BACKGROUND_NAME.pattern}$",
    "description": f"A name of the library, or {SESSION_BACKGROUND!r}: the session's own picture.",
}
LIBRARY_BACKGROUND: Final[Json] = BACKGROUND | {
    "not": {"const": SESSION_BACKGROUND},
    "description": "A name of the library.",
}

SHARED: Final[Json] = {
    "model": choice(MODELS, default=DEFAULT_MODEL),
    "edge": fraction(DEFAULT_EDGE, "0 is crisp, 1 is soft."),
    "people": {
        "default": EVERYONE,
        "anyOf": [choice([EVERYONE, SPEAKER]), whole(1, MOST_PEOPLE)],
        "description": "Who stays in the picture; a number: that many, nearest to the camera.",
    },
    "light_wrap": fraction(DEFAULT_LIGHT_WRAP, "The background's light on the outline."),
    "light": fraction(DEFAULT_LIGHT, "How far a dark face is brightened."),
    "framing": fraction(DEFAULT_FRAMING, "How far the picture is zoomed in on the face."),
}
OWN: Final[Json] = {
    "blur": {
        "strength": fraction(DEFAULT_STRENGTH, "0 is least; it hides what can be read even so."),
        "falloff": fraction(DEFAULT_FALLOFF, "How much it grows with the distance from people."),
    },
    "image": {
        "background": BACKGROUND,
        "fit": choice([fit.value for fit in Fit], default=Fit.COVER.value),
    },
    "color": {"color": {"type": "string", "pattern": f"^{COLOR.pattern}$"}},
    "packed": {},
    "none": {},
}
NEEDED: Final[Json] = {"image": ["background"], "color": ["color"]}


def effect_members(kind: str) -> Json:
    """The members of one type of effect; service.policy.effects.FIELDS has the same."""
    shared = {name: schema for name, schema in SHARED.items() if name in FIELDS[kind]}
    return {"type": {"const": kind}, **OWN[kind], **shared}


def effect() -> Json:
    """As it is asked for: what is left out has a default."""
    return {
        "oneOf": [
            closed(effect_members(kind), ["type", *NEEDED.get(kind, [])]) for kind in EFFECT_TYPES
        ]
    }


def effect_told() -> Json:
    """As it is told: complete."""
    return {"oneOf": [told(effect_members(kind)) for kind in EFFECT_TYPES]}


METADATA_KEY: Final[Json] = {"minLength": 1, "maxLength": MAX_METADATA_KEY_CHARS}
METADATA_VALUE: Final[Json] = {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS}
METADATA: Final[Json] = {
    "type": "object",
    "propertyNames": METADATA_KEY,
    "additionalProperties": METADATA_VALUE,
    "maxProperties": MAX_METADATA_ENTRIES,
}


def new_session() -> Json:
    """The body of POST /v1/sessions."""
    default_away = AwaySpec()
    away = closed(
        {
            "after_s": whole(1, MAX_AWAY_AFTER_S, default_away.after_s),
            "background": nullable(LIBRARY_BACKGROUND),
        }
    )
    numbers = {name: whole(*NUMBERS[name]) for name in NUMBERS}
    return closed(
        {
            "effect": nullable(ref("Effect")),
            "allowed_effects": nullable(
                {
                    "type": "array",
                    "items": choice(EFFECT_TYPES),
                    "minItems": 1,
                    "default": sorted(ALLOWED_BY_DEFAULT),
                }
            ),
            "away": nullable(away),
            "audio": {"type": "boolean", "default": True},
            "metadata": METADATA
            | {"default": {}, "description": f"At most {MAX_METADATA_BYTES} bytes as JSON."},
            "tenant": nullable({"type": "string", "pattern": f"^({TENANT_NAME.pattern})?$"}),
            "lock": nullable(choice([lock.value for lock in Lock])),
            "backgrounds": nullable(
                {"type": "array", "items": BACKGROUND, "maxItems": MAX_BACKGROUNDS}
            ),
            "logo": nullable(TEXT | {"description": "One of the server's policy file."}),
            "pull": nullable(endpoint("WHEP: where its video comes from")),
            "push": nullable(endpoint("WHIP: where what is made of it goes to")),
            **numbers,
        }
    )


def endpoint(meaning: str) -> Json:
    """Another server; a platform key alone may name one."""
    url = {"type": "string", "format": "uri", "pattern": "^https?://", "maxLength": MAX_URL_CHARS}
    token = {"type": "string", "pattern": "^[!-~]+$", "maxLength": MAX_BEARER_CHARS}
    described = {"description": f"{meaning}. For a platform key alone to say."}
    return closed({"url": url, "token": nullable(token)}, ["url"]) | described


def replaced(meaning: str) -> Json:
    """What takes the place of an endpoint, or of its token alone."""
    made = endpoint(meaning)
    return made | {"required": [], "minProperties": 1}


def change() -> Json:
    """The body of PATCH of a session."""
    far = {
        "pull": replaced("Another bearer, or another address and its bearer"),
        "push": replaced("The same of a push"),
    }
    everything = closed({"effect": ref("Effect"), **far}) | {"minProperties": 1}
    return {"anyOf": [ref("TrackChange"), everything]}


def change_of_track() -> Json:
    """The body of PATCH of a track."""
    return closed({"effect": ref("Effect")}, ["effect"])


def some_sessions() -> Json:
    """The body of POST /v1/sessions/end."""
    ids = {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS},
        "minItems": 1,
        "maxItems": MAX_ENDED,
    }
    return {
        "oneOf": [
            closed({"ids": ids}, ["ids"]),
            closed({"filter": ref("Filter")}, ["filter"]),
        ]
    }


def session_filter() -> Json:
    """Which sessions are meant; it asks for something."""
    choices = {
        name: {
            "anyOf": [
                choice(names),
                {"type": "array", "items": choice(names), "minItems": 1, "uniqueItems": True},
            ]
        }
        for name, names in CHOICES.items()
    }
    asks = [{"required": [name]} for name in CHOICES]
    some_metadata = {"required": ["metadata"], "properties": {"metadata": {"minProperties": 1}}}
    return closed({**choices, "metadata": METADATA}) | {"anyOf": [*asks, some_metadata]}


def ice_server() -> Json:
    """In the words of RTCIceServer."""
    return told(
        {"urls": {"type": "array", "items": TEXT}, "username": TEXT, "credential": TEXT},
        optional=("username", "credential"),
    )


def opened() -> Json:
    return told(
        {
            "id": TEXT,
            "token": TEXT | {"description": "The session token: a secret."},
            "rtc_url": TEXT,
            "whep_url": TEXT,
            "viewer_token": TEXT | {"description": "Watches the session and nothing else."},
            "expires_at": SECONDS,
            "ice_servers": {"type": "array", "items": ref("IceServer")},
            "effect": ref("EffectTold"),
        }
    )


FRAMES: Final[Json] = told(
    dict.fromkeys(("received", "processed", "dropped", "sent"), COUNT)
    | {"raw": COUNT | {"description": "Sent unprocessed while an effect was on: 0."}}
)
LEVEL: Final[Json] = choice([level.value for level in Level])


def track() -> Json:
    size = nullable(COUNT)
    milliseconds = nullable(AMOUNT)
    return told(
        {
            "mid": TEXT,
            "effect": ref("EffectTold"),
            "person": choice(["in_view", "away"]),
            "person_changed_at": nullable(SECONDS),
            "quality_level": LEVEL,
            "width": size,
            "height": size,
            "fps_in": AMOUNT,
            "fps_out": AMOUNT,
            "latency_ms": told({"p50": milliseconds, "p95": milliseconds}),
            "stage_ms": {
                "type": "object",
                "properties": dict.fromkeys(STAGES, AMOUNT),
            },
            "cpu_seconds": AMOUNT,
            "frames": FRAMES,
        }
    )


def session(**more: Json) -> Json:
    """One of GET /v1/sessions; with `more`, that of its own address."""
    states = [state.value for state in State if state is not State.ENDED]
    return told(
        {
            "id": TEXT,
            "etag": TEXT,
            "state": choice(states),
            "peer": nullable(choice([state.value for state in PeerState])),
            "effect": ref("EffectTold"),
            "allowed_effects": {"type": "array", "items": choice(EFFECT_TYPES)},
            "away": told({"after_s": COUNT, "background": nullable(TEXT)}),
            "audio": SWITCH,
            "max_width": COUNT,
            "max_height": COUNT,
            "max_fps": COUNT,
            "created_at": SECONDS,
            "expires_at": SECONDS,
            "metadata": {"type": "object", "additionalProperties": TEXT},
            "tenant": TEXT,
            "lock": choice([lock.value for lock in Lock]),
            "backgrounds": nullable({"type": "array", "items": TEXT}),
            "logo": nullable(TEXT),
            "last_event_id": COUNT,
            "round_trip_ms": nullable(AMOUNT),
            "tracks": {"type": "array", "items": ref("Track")},
            "viewers": {"type": "array", "items": ref("Viewer")},
            "pull": nullable(ref("Line")),
            "push": nullable(line(sent=nullable(ref("Viewer")))),
            **more,
        }
    )


def viewer() -> Json:
    """One who watches a session."""
    return told(
        {
            "state": choice([state.value for state in PeerState]),
            "width": COUNT,
            "height": COUNT,
            "cpu_seconds": AMOUNT,
            "frames": told(dict.fromkeys(("sent", "dropped"), COUNT)),
        }
    )


def line(**more: Json) -> Json:
    """A connection to another server."""
    return told(
        {
            "state": choice([state.value for state in LineState]),
            "attempts": COUNT,
            "last_cause": nullable(choice([cause.value for cause in Cause])),
            "changed_at": SECONDS,
            **more,
        }
    )


def components() -> Json:
    """The schemas that others refer to."""
    return {
        "Effect": effect(),
        "EffectTold": effect_told(),
        "NewSession": new_session(),
        "Change": change(),
        "TrackChange": change_of_track(),
        "SomeSessions": some_sessions(),
        "Filter": session_filter(),
        "IceServer": ice_server(),
        "Opened": opened(),
        "Track": track(),
        "Viewer": viewer(),
        "Line": line(),
        "ListedSession": session(),
        "Session": session(ice_servers={"type": "array", "items": ref("IceServer")}),
    }
