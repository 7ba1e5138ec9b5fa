"""The HTTP application: which handler serves which address, and what every answer carries.

``service.__main__`` makes what is passed in and runs the application with its access log off: a
session id in a path is a secret.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import aiohttp_cors
from aiohttp import web

from service.errors import UnknownSession
from service.web.access import Access, guard, renewing
from service.web.backgrounds import Backgrounds
from service.web.bodies import JSON_LIMIT_BYTES, SDP_LIMIT_BYTES
from service.web.connections import patient
from service.web.control import Control
from service.web.events import EventStreams
from service.web.expectations import expect
from service.web.fleet import Fleet
from service.web.headers import EXPOSED_HEADERS, PREFLIGHT_MAX_AGE_S, REQUEST_HEADERS, complete
from service.web.models import Models
from service.web.openapi.document import Description
from service.web.overflow import ROOM, Overflow
from service.web.pages import page_routes
from service.web.probes import Probes
from service.web.problems import problems
from service.web.reopening import Reopening
from service.web.routing import SEEK, Routing
from service.web.rtc import IceServersFor, Rtc, no_ice_servers
from service.web.sessions import Sessions
from service.web.spec import NO_RULES
from service.web.traced import traced
from service.web.uploads import Uploads
from service.web.whep import Whep
from service.web.whip import Whip, nothing, options_of_endpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from service.library.library import Library
    from service.policy.addresses import Network
    from service.policy.rules import Tenants
    from service.policy.tokens import Tokens
    from service.session.catalogue import ModelCatalogue
    from service.session.registry import Registry
    from service.web.access import LoginCounters, PlatformSigned
    from service.web.overflow import PassedOnCounters
    from service.web.peers import Peers
    from service.web.probes import Cpu, Scraped
    from service.web.traced import Traces

    Routes = Mapping[str, Mapping[str, Handler]]

    class Counting(Scraped, LoginCounters, PassedOnCounters, Protocol):
        """What counts, and is scraped."""


def create_app(
    *,
    registry: Registry,
    pictures: Library,
    models: ModelCatalogue,
    tokens: Tokens,
    metrics: Counting,
    cpu: Cpu,
    capacity: Callable[[], float],
    page_dir: Path,
    api_keys: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    ice_servers: IceServersFor = no_ice_servers,
    max_picture_bytes: int = 10 << 20,
    started: Callable[[], bool] = lambda: True,
    now: Callable[[], float] = time.time,
    now_s: Callable[[], float] = time.monotonic,
    platform_signed: PlatformSigned | None = None,
    tenants: Tenants = NO_RULES,
    peers: Peers | None = None,
    traces: Traces | None = None,
    sfu_networks: Sequence[Network] = (),
) -> web.Application:
    """The application. No ``api_keys``: development mode, which only this machine may call.

    ``ice_servers`` makes a session's, in the words of RTCIceServer; ``now`` is in unix seconds,
    ``now_s`` in those of a clock that is never set. ``peers`` are the other servers of a fleet.
    """
    access = Access(
        api_keys=api_keys,
        tokens=tokens,
        now=now,
        counters=metrics,
        platform_signed=platform_signed,
        tenant_of=lambda session_id: _tenant(registry, session_id),
        now_s=now_s,
    )
    uploads = Uploads()
    reopening = Reopening(registry, now=now, tenants=tenants)
    overflow = Overflow(registry=registry, counters=metrics, peers=peers, now_s=now_s)
    sessions = Sessions(
        registry=registry,
        reopening=reopening,
        access=access,
        tokens=tokens,
        pictures=pictures,
        models=models,
        ice_servers=ice_servers,
        max_picture_bytes=max_picture_bytes,
        uploads=uploads,
        overflow=overflow,
        now=now,
        tenants=tenants,
        sfu_networks=sfu_networks,
    )
    fleet = Fleet(registry=registry, reopening=reopening, access=access, now=now, peers=peers)
    whip = Whip(
        registry=registry,
        reopening=reopening,
        access=access,
        ice_servers=ice_servers,
        overflow=overflow,
        tenants=tenants,
    )
    whep = Whep(registry=registry, access=access, ice_servers=ice_servers)
    events = EventStreams(registry=registry, access=access)
    models_listed = Models(models=models, access=access)
    backgrounds = Backgrounds(
        pictures=pictures, access=access, uploads=uploads, max_picture_bytes=max_picture_bytes
    )
    probes = Probes(
        registry=registry,
        access=access,
        metrics=metrics,
        cpu=cpu,
        capacity=capacity,
        started=started,
        peers=peers,
    )
    rtc = Rtc(
        registry=registry,
        reopening=reopening,
        access=access,
        control=Control(sessions=sessions, server_figures=probes.figures),
        ice_servers=ice_servers,
        overflow=overflow,
    )

    routing = None
    if peers is not None:
        routing = Routing(peers=peers, registry=registry, reopening=reopening, access=access)
    one = "/v1/sessions/{session_id}"
    api: Routes = {
        "/v1/sessions": {"POST": sessions.create, "GET": fleet.list},
        "/v1/sessions/end": {"POST": fleet.end},
        "/v1/events": {"GET": events.stream_all},
        one: {"GET": sessions.get, "PATCH": sessions.patch, "DELETE": sessions.delete},
        f"{one}/tracks/{{mid}}": {"PATCH": sessions.patch_track},
        f"{one}/events": {"GET": events.stream},
        f"{one}/background": {"PUT": sessions.put_background},
        f"{one}/rtc": {"POST": rtc.offer},
        f"{one}/rtc/{{peer_id}}": {
            "PATCH": rtc.trickle,
            "DELETE": rtc.hang_up,
            "GET": nothing,
        },
        "/v1/whip": {"POST": whip.publish, "GET": nothing},
        "/v1/whep/{session_id}": {"POST": whep.play, "GET": nothing},
        "/v1/whep/{session_id}/{viewer_id}": {
            "PATCH": whep.trickle,
            "DELETE": whep.leave,
            "GET": nothing,
        },
        "/v1/models": {"GET": models_listed.list},
        "/v1/backgrounds": {"GET": backgrounds.list},
        "/v1/backgrounds/{name}": {
            "GET": backgrounds.get,
            "PUT": backgrounds.put,
            "DELETE": backgrounds.delete,
        },
        "/v1/backgrounds/{name}/thumbnail": {"GET": backgrounds.thumbnail},
        "/v1/server": {"GET": probes.server},
    }
    page: Routes = {
        path: {"GET": handler} for path, handler in page_routes(page_dir, move_to=registry.move_to)
    }
    operators: Routes = {
        "/healthz": {"GET": probes.healthz},
        "/readyz": {"GET": probes.readyz},
        "/metrics": {"GET": probes.metrics},
    }
    description = Description(development=access.development, page=page)

    app = web.Application(
        # The outermost first. In development mode the guard comes before every handler.
        middlewares=[
            patient,
            *([traced(traces)] if traces is not None else []),
            problems,
            *([guard(allowed_origins)] if access.development else []),
            options_of_endpoints,
            *([renewing(access)] if platform_signed is not None else []),
            *([routing.middleware()] if routing is not None else []),
        ],
        # bodies.py reads every body within a limit of its own.
        client_max_size=max(JSON_LIMIT_BYTES, SDP_LIMIT_BYTES, max_picture_bytes),
    )
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
        expose_headers=EXPOSED_HEADERS,
        allow_headers=REQUEST_HEADERS,
        max_age=PREFLIGHT_MAX_AGE_S,
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(allowed_origins, options))
    _add(app, {**api, "/openapi.json": {"GET": description.get}, **page}, cors)
    _add(app, operators, None)
    if peers is not None and routing is not None:
        _add(app, {SEEK: {"GET": routing.seek}, ROOM: {"GET": overflow.room}}, None)
        app.on_cleanup.append(peers.close)
    app.on_response_prepare.append(complete)
    app.on_shutdown.append(events.close)
    return app


def _tenant(registry: Registry, session_id: str) -> str | None:
    try:
        return registry.get(session_id).spec.tenant
    except UnknownSession:
        return None


def _add(app: web.Application, routes: Routes, cors: aiohttp_cors.CorsConfig | None) -> None:
    for path, handlers in routes.items():
        resource = app.router.add_resource(path)
        for method, handler in handlers.items():
            route = resource.add_route(method, handler, expect_handler=expect)
            if cors is not None:
                cors.add(route)
            if method == "GET":
                resource.add_route("HEAD", handler, expect_handler=expect)
