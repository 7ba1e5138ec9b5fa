"""The models over HTTP: which ones effects may name, and which of them this server has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from service.session.catalogue import ModelCatalogue
    from service.web.access import Access


class Models:
    """The handler of /v1/models."""

    def __init__(self, *, models: ModelCatalogue, access: Access) -> None:
        self._models = models
        self._access = access

    async def list(self, request: web.Request) -> web.Response:
        """GET /v1/models."""
        self._access.caller(request)
        models = [
            {"name": one.name, "installed": not one.missing, "missing": list(one.missing)}
            for one in await self._models.list()
        ]
        return web.json_response({"models": models})
