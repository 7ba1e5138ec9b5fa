"""The picture library over HTTP: the list, the pictures, their thumbnails; put and deleted by
platforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.helpers import ETag

from service.errors import InvalidField, UnknownBackground
from service.policy.effects import BACKGROUND_NAME, BACKGROUND_NAME_LIMIT, SESSION_BACKGROUND
from service.web.bodies import PICTURE_TIMEOUT_S, read_body, require_type
from service.web.preconditions import Conditions
from service.web.sessions import PICTURE_TYPES

if TYPE_CHECKING:
    from service.library.library import Library
    from service.session.pictures import Listed, PictureFile
    from service.web.access import Access
    from service.web.uploads import Uploads

# A built-in picture changes with a release at most, and the ETag finds out; a stored one is asked
# about each time, which is cheap.
BUILT_IN_CACHE_CONTROL: Final = "private, max-age=3600"
STORED_CACHE_CONTROL: Final = "private, no-cache"
THUMBNAIL: Final = "thumbnail"


class Backgrounds:
    """The handlers of /v1/backgrounds."""

    def __init__(
        self, *, pictures: Library, access: Access, uploads: Uploads, max_picture_bytes: int
    ) -> None:
        self._pictures = pictures
        self._access = access
        self._uploads = uploads
        self._max_picture_bytes = max_picture_bytes

    async def list(self, request: web.Request) -> web.Response:
        """GET /v1/backgrounds."""
        self._access.caller(request)
        pictures, current = await self._pictures.list()
        return web.json_response(
            {"backgrounds": [_described(one) for one in pictures], "current": current}
        )

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/backgrounds/{name}, and with ?size=thumbnail a small one."""
        self._access.caller(request)
        size = request.query.get("size")
        if size not in (None, THUMBNAIL):
            raise InvalidField("size", f"must be {THUMBNAIL}, or left out for the picture itself")
        if size == THUMBNAIL:
            return await self.thumbnail(request)
        listed = await self._pictures.find(_known_name(request))
        if _has(request, listed.etag):
            return _completed(web.Response(status=304), listed.etag, built_in=listed.built_in)
        file = await self._pictures.file(listed.name)
        return _answer(request, file, built_in=listed.built_in)

    async def thumbnail(self, request: web.Request) -> web.Response:
        """GET /v1/backgrounds/{name}/thumbnail."""
        self._access.caller(request)
        listed = await self._pictures.find(_known_name(request))
        file = await self._pictures.thumbnail(listed.name)
        return _answer(request, file, built_in=listed.built_in)

    async def put(self, request: web.Request) -> web.Response:
        """PUT /v1/backgrounds/{name}."""
        self._access.platform(request)
        name = request.match_info["name"]
        if BACKGROUND_NAME.fullmatch(name) is None:
            raise InvalidField("name", BACKGROUND_NAME_LIMIT)
        if name == SESSION_BACKGROUND:
            raise InvalidField("name", f"must not be {name!r}: that is a session's own picture")
        self._pictures.require_writable(name)
        conditions = Conditions.of(request)
        require_type(request, *PICTURE_TYPES)
        with self._uploads.place(request.path):
            data = await read_body(
                request, limit_bytes=self._max_picture_bytes, timeout_s=PICTURE_TIMEOUT_S
            )
            put = await self._pictures.put(name, data, conditions.require)
        # No ETag: what is stored is not what was sent (RFC 9110 9.3.4). The body has it.
        return web.json_response(
            _described(put.listed),
            status=201 if put.new else 200,
            headers={"Location": _url(name)} if put.new else None,
        )

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/backgrounds/{name}."""
        self._access.platform(request)
        await self._pictures.delete(_known_name(request), Conditions.of(request).require)
        return web.Response(status=204)


def _known_name(request: web.Request) -> str:
    """The name in the path; raises UnknownBackground for one that no picture can have."""
    name = request.match_info["name"]
    if BACKGROUND_NAME.fullmatch(name) is None:
        raise UnknownBackground(name[:64])
    return name


def _url(name: str) -> str:
    return f"/v1/backgrounds/{name}"


def _described(one: Listed) -> dict[str, object]:
    return {
        "name": one.name,
        "title": one.title,
        "width": one.width_px,
        "height": one.height_px,
        "size": one.size_bytes,
        "kind": "film" if one.is_film else "picture",
        "type": one.media_type,
        "built_in": one.built_in,
        "etag": f'"{one.etag}"',
        "url": _url(one.name),
        "thumbnail_url": f"{_url(one.name)}/{THUMBNAIL}",
    }


def _has(request: web.Request, etag: str) -> bool:
    return any(tag.value in (etag, "*") for tag in request.if_none_match or ())


def _answer(request: web.Request, file: PictureFile, *, built_in: bool) -> web.Response:
    if _has(request, file.etag):
        response = web.Response(status=304)
    else:
        response = web.Response(body=file.data, content_type=file.media_type)
    return _completed(response, file.etag, built_in=built_in)


def _completed(response: web.Response, etag: str, *, built_in: bool) -> web.Response:
    response.etag = ETag(etag)
    response.headers["Cache-Control"] = BUILT_IN_CACHE_CONTROL if built_in else STORED_CACHE_CONTROL
    return response
