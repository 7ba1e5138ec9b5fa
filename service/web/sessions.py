"""Sessions over HTTP: what a platform's backend, or the holder of a token, does with them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from service.errors import (
    InvalidField,
    NotAllowed,
    Refused,
    UnknownBackground,
    UnknownSession,
)
from service.policy.effects import (
    SESSION_BACKGROUND,
    Effect,
    Image,
    Nothing,
    effect_json,
    parse_effect,
)
from service.policy.rules import Lock
from service.session.sfu import Way
from service.web.access import Holder
from service.web.bodies import (
    PICTURE_TIMEOUT_S,
    parse_object,
    read_body,
    read_json_bytes,
    require_caller,
    require_type,
)
from service.web.endpoints import WAYS, parse_endpoint, parse_replaced
from service.web.idempotency import MAX_KEY_CHARS, Answers, Kept, Reused
from service.web.preconditions import expected
from service.web.problems import FORBIDDEN, KEY_REUSED, UNKNOWN_TRACK, Problem
from service.web.reopening import LONGEST_TOKEN_S
from service.web.spec import NO_RULES, NUMBERS, parse_narrower, parse_spec, spec_json
from service.web.whip import whep_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from service.policy.addresses import Network
    from service.policy.rules import Tenants
    from service.policy.tokens import Grant, Tokens
    from service.session.registry import Registry
    from service.session.session import Session
    from service.session.spec import SessionSpec
    from service.web.access import Access
    from service.web.overflow import Overflow
    from service.web.reopening import Reopening
    from service.web.rtc import IceServersFor
    from service.web.uploads import Uploads

PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "video/mp4", "video/webm")


class PictureNames(Protocol):
    """Which backgrounds the library has."""

    async def require(self, name: str) -> None:
        """Raises UnknownBackground, or LibraryUnavailable where that cannot be said now."""
        ...


class Models(Protocol):
    """Which models an effect may name."""

    async def require(self, model: str) -> None:
        """Raises ModelUnavailable for one that this server does not have."""
        ...


class Sessions:
    """The handlers of /v1/sessions."""

    def __init__(
        self,
        *,
        registry: Registry,
        reopening: Reopening,
        access: Access,
        tokens: Tokens,
        pictures: PictureNames,
        models: Models,
        ice_servers: IceServersFor,
        max_picture_bytes: int,
        uploads: Uploads,
        overflow: Overflow,
        now: Callable[[], float],
        tenants: Tenants = NO_RULES,
        sfu_networks: Sequence[Network] = (),
    ) -> None:
        """`sfu_networks` are those that are not public and that a session may be pulled from or
        pushed to."""
        self._registry = registry
        self._reopening = reopening
        self._access = access
        self._tokens = tokens
        self._sfu_networks = sfu_networks
        self._pictures = pictures
        self._models = models
        self._ice_servers = ice_servers
        self._max_picture_bytes = max_picture_bytes
        self._now = now
        self._tenants = tenants
        self._answers = Answers()
        self._uploads = uploads
        self._overflow = overflow

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/sessions."""
        caller = self._access.opener(request)
        if isinstance(caller, Holder):
            return await self._create_granted(request, caller.grant)
        key = _idempotency_key(request)
        body = await read_json_bytes(request)
        if (kept := self._kept(caller.name, key, body)) is not None:
            return _created(kept)
        fields = parse_object(body)
        pull, push = (parse_endpoint(fields, way, self._sfu_networks) for way in WAYS)
        asked = {name: value for name, value in fields.items() if name not in WAYS}
        spec = parse_spec(asked, self._tenants)
        await self._require_usable(spec)
        async with self._answers.turn(caller.name, key):
            # The same request may have come again, and been answered, while a model was loaded.
            if (kept := self._kept(caller.name, key, body)) is not None:
                return _created(kept)
            require_caller(request)
            try:
                answer = self._opened(self._registry.create(spec, pull=pull, push=push))
            except Refused as refusal:
                response = await self._overflow.elsewhere(request, body, refusal)
                answer = json.loads(response.text or "{}")
            if key is not None:
                self._answers.keep(caller.name, key, body, answer, now=self._now())
            return _created(answer)

    async def _create_granted(self, request: web.Request, grant: Grant) -> web.Response:
        """The one session of a token that the platform signed: opened, or found again (200)."""
        given = await read_json_bytes(request)
        body = parse_object(given)
        granted = parse_spec(grant.spec, self._tenants)
        spec = self._reopening.rest(parse_narrower(body, granted, self._tenants), grant)
        spec = self._reopening.as_set(spec, grant, chosen=body.get("effect") is not None)
        await self._require_usable(spec)
        require_caller(request)
        # Nothing is awaited from here on, so that two requests at once cannot open it twice.
        try:
            found = self._registry.get(grant.session_id)
        except UnknownSession:
            self._reopening.require_open(grant.session_id)
            try:
                opened = self._registry.create(spec, session_id=grant.session_id)
            except Refused as refusal:
                return await self._overflow.elsewhere(request, given, refusal)
            return _created(self._opened(opened))
        if found.spec.tenant != spec.tenant:
            raise Problem(FORBIDDEN, "a session token reaches its own session alone")
        return web.json_response(self._opened(found))

    async def _require_usable(self, spec: SessionSpec) -> None:
        """Raises InvalidField or ModelUnavailable for what this server does not have."""
        await self._require_background(spec.effect)
        await self._require_named("away.background", spec.away.background)
        if not isinstance(spec.effect, Nothing):
            await self._models.require(spec.effect.model)

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/sessions/{session_id}."""
        return self._described(self._found(request))

    async def patch(self, request: web.Request) -> web.Response:
        """PATCH /v1/sessions/{session_id}."""
        session, bound = self._found(request), self._bound(request)
        only_if = expected(request)
        await self._change(session, await read_json_bytes(request), only_if, bound=bound)
        return self._described(session)

    async def patch_track(self, request: web.Request) -> web.Response:
        """PATCH /v1/sessions/{session_id}/tracks/{mid}."""
        session, bound = self._found(request), self._bound(request)
        only_if, mid = expected(request), request.match_info["mid"]
        try:
            await self._change(
                session, await read_json_bytes(request), only_if, mid=mid, bound=bound
            )
        except InvalidField as error:
            if error.field == "mid":
                raise Problem(UNKNOWN_TRACK, "the session has no video track of this mid") from None
            raise
        return self._described(session)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/sessions/{session_id}."""
        self._access.session(request)
        session_id = request.match_info["session_id"]
        if (only_if := expected(request)) is not None:
            self._registry.get(session_id).scene.require_version(only_if)
        # Whether it is here or not: one that idled out could be opened again by its token. And
        # before the end is awaited: its own client must not open it again meanwhile.
        self._reopening.deleted(session_id, until=self._now() + LONGEST_TOKEN_S)
        await self._registry.end(session_id)
        return web.Response(status=204)

    async def put_background(self, request: web.Request) -> web.Response:
        """PUT /v1/sessions/{session_id}/background."""
        session = self._found(request)
        _require_own_picture(session, bound=self._bound(request))
        require_type(request, *PICTURE_TYPES)
        with self._uploads.place(request.path):
            data = await read_body(
                request, limit_bytes=self._max_picture_bytes, timeout_s=PICTURE_TIMEOUT_S
            )
            await session.scene.set_picture(data)
        return web.json_response({"background": SESSION_BACKGROUND})

    def _found(self, request: web.Request) -> Session:
        self._access.session(request)
        return self._registry.get(request.match_info["session_id"])

    def _bound(self, request: web.Request) -> bool:
        """Whether the session's lock holds this caller: it holds all but platforms."""
        return isinstance(self._access.session(request), Holder)

    def _kept(self, caller: str, key: str | None, body: bytes) -> dict[str, object] | None:
        """The answer that this request got before; raises a 422 where another one has its key."""
        if key is None:
            return None
        match self._answers.find(caller, key, body, now=self._now()):
            case Kept(answer):
                return answer
            case Reused():
                raise Problem(KEY_REUSED, "this Idempotency-Key came with another body before")
        return None

    def token(self, session: Session) -> str:
        """A token of the session as it is now: it opens it elsewhere with the effect in force, and
        is good for no longer than the first one. A picture of its own does not go along: with it
        in force the session opens with its first effect."""
        effect = session.effect
        kept_here = isinstance(effect, Image) and effect.background == SESSION_BACKGROUND
        spec = session.spec if kept_here else dataclasses.replace(session.spec, effect=effect)
        return self._tokens.mint(
            session.id,
            # What is left of the time of a session that was opened late may be less than may be
            # asked for; exp holds the token to it.
            {**spec_json(spec), "ttl_s": max(NUMBERS["ttl_s"][0], session.spec.ttl_s)},
            now=self._now(),
            expires_at=session.expires_at,
        )

    def _opened(self, session: Session) -> dict[str, object]:
        return {
            "id": session.id,
            "token": self.token(session),
            "rtc_url": f"/v1/sessions/{session.id}/rtc",
            "whep_url": whep_path(session.id),
            "viewer_token": self._tokens.mint(
                session.id,
                {"tenant": session.spec.tenant},
                now=self._now(),
                expires_at=session.expires_at,
                views=True,
            ),
            "expires_at": round(session.expires_at, 3),
            "ice_servers": self._ice_servers(session.id, session.expires_at),
            "effect": effect_json(session.effect),
        }

    def _described(self, session: Session) -> web.Response:
        return web.json_response(self.described(session), headers={"ETag": session.etag})

    def described(self, session: Session) -> dict[str, object]:
        """The session's JSON."""
        return {
            **session.describe(),
            "ice_servers": self._ice_servers(session.id, session.expires_at),
        }

    async def _change(
        self,
        session: Session,
        body: bytes,
        only_if: Collection[str] | None,
        *,
        bound: bool,
        mid: str | None = None,
    ) -> None:
        fields = parse_object(body)
        known = ("effect", *WAYS) if mid is None else ("effect",)
        for name in fields:
            if name not in known:
                raise InvalidField(name[:64], f"is not a field: there is {', '.join(known)}")
        replaced = {}
        for way in WAYS:
            if way not in fields:
                continue
            if bound:
                raise InvalidField(way, "is for a platform key to say")
            present = session.endpoint(Way(way))
            replaced[Way(way)] = parse_replaced(fields, way, present, self._sfu_networks)
        if "effect" in fields or not replaced:
            await self.change(session, fields, only_if, bound=bound, mid=mid)
            only_if = None
        if replaced:
            await session.set_endpoints(replaced, expected=only_if)

    async def change(
        self,
        session: Session,
        fields: Mapping[str, object],
        only_if: Collection[str] | None,
        *,
        bound: bool,
        mid: str | None = None,
    ) -> None:
        """Another effect, by ``fields["effect"]``: of the session, or of one of its tracks.

        Raises what makes a problem; then nothing has changed.
        """
        if "effect" not in fields:
            raise InvalidField("effect", "must be given")
        effect = parse_effect(fields["effect"], allowed=session.spec.allowed_effects)
        self._tenants.rules(session.spec.tenant).require(effect)
        await self._require_background(effect)
        try:
            await session.scene.set_effect(effect, mid=mid, bound=bound, expected=only_if)
        except UnknownBackground as error:
            raise InvalidField("effect.background", _no_picture(error.name)) from None
        if mid is None and not bound:
            self._reopening.set_by_platform(session.id, effect)

    async def _require_background(self, effect: Effect) -> None:
        if isinstance(effect, Image) and effect.background != SESSION_BACKGROUND:
            await self._require_named("effect.background", effect.background)

    async def _require_named(self, field: str, name: str | None) -> None:
        if name is None:
            return
        try:
            await self._pictures.require(name)
        except UnknownBackground:
            raise InvalidField(field, _no_picture(name)) from None


def _require_own_picture(session: Session, *, bound: bool) -> None:
    """Raises NotAllowed where a picture of somebody's own is not for this session."""
    names = session.spec.backgrounds
    if bound and session.spec.lock is not Lock.NOTHING:
        raise NotAllowed(f"the session's {session.spec.lock.value} is locked")
    if names is not None and SESSION_BACKGROUND not in names:
        raise NotAllowed(f"the session's backgrounds do not have {SESSION_BACKGROUND!r}")


def _no_picture(name: str) -> str:
    if name == SESSION_BACKGROUND:
        return f"is {SESSION_BACKGROUND!r}, and no picture was put for this session yet"
    return f"names no picture: GET /v1/backgrounds lists them, and {name!r} is not there"


def _created(answer: dict[str, object]) -> web.Response:
    return web.json_response(
        answer, status=201, headers={"Location": f"/v1/sessions/{answer['id']}"}
    )


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= MAX_KEY_CHARS:
        raise InvalidField("Idempotency-Key", f"must be 1 to {MAX_KEY_CHARS} characters")
    return key
