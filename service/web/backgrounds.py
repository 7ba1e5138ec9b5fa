"""The picture library over HTTP: the list, the pictures, their thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.helpers import ETag

from service.errors import InvalidField
from service.session.pictures import MEDIA_TYPE

if TYPE_CHECKING:
    from service.session.pictures import BuiltInPictures, PictureFile
    from service.web.access import Access

# A built-in picture changes with a release at most; the ETag finds out.
CACHE_CONTROL: Final = "private, max-age=3600"
THUMBNAIL: Final = "thumbnail"


class Backgrounds:
    """The handlers of /v1/backgrounds."""

    def __init__(self, *, pictures: BuiltInPictures, access: Access) -> None:
        self._pictures = pictures
        self._access = access

    async def list(self, request: web.Request) -> web.Response:
        """GET /v1/backgrounds."""
        self._access.caller(request)
        backgrounds = [
            {
                "name": one.name,
                "title": one.title,
                "width": one.width_px,
                "height": one.height_px,
                "url": f"/v1/backgrounds/{one.name}",
                "thumbnail_url": f"/v1/backgrounds/{one.name}?size={THUMBNAIL}",
            }
            for one in await self._pictures.list()
        ]
        return web.json_response({"backgrounds": backgrounds})

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/backgrounds/{name}, and with ?size=thumbnail a small one."""
        self._access.caller(request)
        name = request.match_info["name"]
        size = request.query.get("size")
        if size not in (None, THUMBNAIL):
            raise InvalidField("size", f"must be {THUMBNAIL}, or left out for the picture itself")
        if size == THUMBNAIL:
            return _answer(request, await self._pictures.thumbnail(name))
        return _answer(request, await self._pictures.file(name))


def _answer(request: web.Request, file: PictureFile) -> web.Response:
    known = request.if_none_match or ()
    if any(tag.value in (file.etag, "*") for tag in known):
        response = web.Response(status=304)
    else:
        response = web.Response(body=file.data, content_type=MEDIA_TYPE)
    response.etag = ETag(file.etag)
    response.headers["Cache-Control"] = CACHE_CONTROL
    return response
