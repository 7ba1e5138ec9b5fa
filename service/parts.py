"""Puts the service together: settings in, everything that lives as long as the process out.

The one place where the parts meet. Reading order: `Parts.make`, then what makes each of them.
"""

from __future__ import annotations

import ipaddress
import math
import os
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aiortc import RTCIceServer
from cryptography import x509

from service.cpu import CpuReader
from service.errors import PictureError, SettingsError
from service.frame.logo import read_logo
from service.frame.models import Models
from service.frame.pipeline import Pipeline
from service.library.library import Library
from service.library.store import PictureStore
from service.library.stored import Bounds, StoredPictures
from service.logs import SHORT_ID
from service.metrics import Metrics
from service.policy.addresses import PRIVATE, Reach
from service.policy.admission import Admission
from service.policy.cost import CostModel, Demand
from service.policy.deliveries import Deliveries, Retrying
from service.policy.fleet import Fleet, place_of
from service.policy.keys import parse_pem
from service.policy.levels import Level
from service.policy.platform_tokens import PlatformTokens
from service.policy.policy_file import Policy, read_policy
from service.policy.tokens import Tokens
from service.policy.turn import TurnLender
from service.rtc.codecs import Codec
from service.rtc.connection import ConnectionSettings
from service.rtc.ice import IceSettings
from service.rtc.peer import PeerSettings
from service.session.catalogue import ModelCatalogue
from service.session.films import Films
from service.session.load import LoadWatch
from service.session.pictures import BuiltInPictures
from service.session.quality import QualityControl
from service.session.registry import Registry
from service.session.sfu import SfuSettings
from service.session.spec import SessionSettings
from service.session.traces import UNTRACED
from service.setting_text import PEER_WORDS
from service.web.access import FixedKeys, PlatformSigned
from service.web.app import create_app
from service.web.jwks import Jwks
from service.web.members import Members
from service.web.peers import Peers
from service.web.sfu import Sfu
from service.webhooks.message import Signer
from service.webhooks.outbox import Outbox
from service.webhooks.receiver import Receiver, ReceiverSettings
from service.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from service.frame.logo import Logo
    from service.frame.look import Look
    from service.session.spec import SessionSpec
    from service.setting_text import IceServer
    from service.settings import Settings
    from service.tracing import Traces
    from service.web.access import KeySource

PAGE_DIRECTORY = Path(__file__).parent / "web" / "page"
OWN_TURN_NAME = "backcloth"
"""The name of this service's own relays at a TURN server; sessions have their short id."""
WEBHOOKS_AT_ONCE = 8
OTEL_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Standard variables that ask for traces too, where BACKCLOTH_OTEL_ENDPOINT is not set."""
REFERENCE_SESSIONS = ((640, 360, 30), (1280, 720, 30))
"""Whose expected cost the metrics tell."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that lives as long as the process."""

    registry: Registry
    metrics: Metrics
    workers: Workers
    load: LoadWatch
    pictures: Library
    quality: QualityControl
    outbox: Outbox | None
    "None: nobody wants webhooks."
    app: web.Application
    key_set: Jwks | None
    traces: Traces | None
    "None: nobody wants any."

    @classmethod
    def make(cls, settings: Settings) -> Parts:
        """Raises ModelError when a model is missing or not the one of the manifest, SettingsError
        for keys or a policy file that cannot be used."""
        metrics = Metrics()
        cpu = CpuReader(quota_cores=settings.cpu_cores or None)
        models = Models.load(settings.models_dir)
        for name, seconds in models.load_seconds.items():
            metrics.model_loaded(name, seconds)
        cost = CostModel(settings.session_cores)
        admission = Admission(
            quota_cores=cpu.quota_cores,
            cost=cost,
            max_sessions=settings.max_sessions,
            planned_share=settings.planned_share,
        )
        workers = Workers(lambda: cpu.quota_cores)
        films = Films()
        pictures = make_library(settings, metrics, films)
        policy = Policy() if settings.policy_file is None else read_policy(settings.policy_file)
        peers = make_peers(settings, metrics)
        metrics.watch_fleet(lambda: 0 if peers is None else peers.known)
        catalogue = ModelCatalogue(models, on_loaded=metrics.model_loaded)
        traces = make_traces(settings.otel_endpoint, os.environ)

        def make_pipeline(look: Look, spec: SessionSpec) -> Pipeline:
            return Pipeline(models, look, max_width=spec.max_width, max_height=spec.max_height)

        sfu = Sfu(
            networks=settings.sfu_networks,
            timeout_s=settings.sfu_timeout_s,
            asks_ice_servers=settings.sfu_ice_servers,
        )
        registry = Registry(
            settings=session_settings(settings, read_logos(policy), films),
            admission=admission,
            pictures=pictures,
            models=catalogue,
            make_pipeline=make_pipeline,
            workers=workers,
            peer_counters=metrics,
            counters=metrics,
            id_suffix="" if peers is None else peers.fleet.id_suffix,
            traces=traces or UNTRACED,
            move_to=settings.move_to,
            refusals_are_final=peers is None,
            exchanges=sfu,
        )
        quality = QualityControl(
            sessions=registry.sessions,
            cpu=cpu,
            counters=metrics,
            lowest=Level(settings.lowest_quality),
        )
        metrics.watch_quality(quality.counts)
        load = LoadWatch(
            sessions=registry.placed,
            admission=admission,
            cost=cost,
            cpu=cpu,
            lowered=quality.lowered,
            short=lambda: quality.short,
            viewers_cpu_s=lambda: registry.viewers_cpu_s,
        )
        metrics.watch(
            sessions=registry.states,
            capacity=lambda: admission.capacity_ratio,
            draining=lambda: admission.draining,
            reserved_cores=lambda: admission.reserved_cores,
            session_cost=lambda: {
                f"{width}x{height}": cost.cores(Demand(width * height, fps))
                for width, height, fps in REFERENCE_SESSIONS
            },
            cpu=cpu,
        )
        metrics.watch_viewers(lambda: registry.viewers)
        metrics.watch_sfu(registry.lines)
        platform_signed, key_set = platform_tokens(settings)
        if key_set is not None:
            metrics.watch_jwks(lambda: key_set.age_s)
        if settings.tls_cert is not None:
            metrics.watch_certificate(_expires_at(settings.tls_cert))
        app = create_app(
            registry=registry,
            pictures=pictures,
            models=catalogue,
            tokens=Tokens([secret.encode() for secret in settings.token_secrets]),
            metrics=metrics,
            cpu=cpu,
            capacity=lambda: admission.capacity_ratio,
            page_dir=PAGE_DIRECTORY,
            api_keys=settings.api_keys,
            allowed_origins=settings.allowed_origins,
            ice_servers=lambda session_id, expires_at: [
                server.as_json()
                for server in lent(settings, session_id[:SHORT_ID], until=expires_at)
            ],
            max_picture_bytes=settings.max_picture_bytes,
            platform_signed=platform_signed,
            tenants=policy.tenants,
            peers=peers,
            traces=traces,
            sfu_networks=settings.sfu_networks,
        )
        app.on_cleanup.append(sfu.close)
        outbox = make_outbox(settings, metrics)
        if outbox is not None:
            registry.feed.hook(outbox.take)
            metrics.watch_webhooks(lambda: outbox.waiting)
        return cls(
            registry, metrics, workers, load, pictures, quality, outbox, app, key_set, traces
        )


def make_library(settings: Settings, metrics: Metrics, films: Films) -> Library:
    """The pictures; raises SettingsError for a folder that cannot be had."""
    built_in = BuiltInPictures(settings.backgrounds_dir)
    if not settings.library:
        return Library(built_in)
    store = PictureStore.open(
        settings.library, endpoint=settings.library_endpoint, counters=metrics
    )
    bounds = Bounds(
        pictures=settings.library_max_pictures,
        total_bytes=settings.library_max_bytes,
        picture_bytes=settings.max_picture_bytes,
        picture_pixels=settings.max_picture_pixels,
    )
    return Library(built_in, StoredPictures(store, bounds, films=films))


def make_traces(endpoint: str | None, environ: Mapping[str, str]) -> Traces | None:
    """Where spans go, if there is a collector. OpenTelemetry is imported only then."""
    if endpoint is None and not any(environ.get(name, "").strip() for name in OTEL_ENDPOINTS):
        return None
    from service.tracing import to_collector

    return to_collector(endpoint)


def make_outbox(settings: Settings, metrics: Metrics) -> Outbox | None:
    """Where webhooks go out, if there is somewhere to go to."""
    if settings.webhook_url is None:
        return None
    receiver = Receiver(
        ReceiverSettings(
            url=settings.webhook_url,
            timeout_s=settings.webhook_timeout_s,
            networks=settings.webhook_networks,
            connections=WEBHOOKS_AT_ONCE,
        ),
        Signer(settings.webhook_secrets),
    )
    retrying = Retrying(
        first_s=settings.webhook_retry_s,
        longest_s=settings.webhook_retry_max_s,
        give_up_s=settings.webhook_give_up_s,
    )
    return Outbox(
        receiver=receiver,
        # Spreads tries in time; nothing is kept secret by it.
        deliveries=Deliveries(
            most=settings.webhook_queue,
            retrying=retrying,
            chance=random.random,
        ),
        at_once=WEBHOOKS_AT_ONCE,
        counters=metrics,
    )


def make_peers(settings: Settings, metrics: Metrics) -> Peers | None:
    """The other servers of the fleet, where there is one."""
    if not settings.fleet or settings.fleet_address is None:
        return None
    secrets = [secret.encode() for secret in settings.fleet_secrets]
    fleet = Fleet(secrets, place_of(settings.fleet_address, settings.port))
    members = Members(settings.fleet)
    return Peers(fleet, members, counters=metrics, trusted=settings.tls_cert)


def platform_tokens(settings: Settings) -> tuple[PlatformSigned | None, Jwks | None]:
    """How tokens that the platform signs are verified, and the key set to keep fresh, if any.

    Raises SettingsError for keys that cannot be used.
    """
    if not settings.jwt_issuer:
        return None, None
    key_set = None
    source: KeySource
    if settings.jwks_url:
        source = key_set = Jwks(settings.jwks_url, networks=settings.jwks_networks)
    else:
        try:
            source = FixedKeys(parse_pem(settings.jwt_public_keys))
        except ValueError as exc:
            raise SettingsError(f"BACKCLOTH_JWT_PUBLIC_KEYS: {exc}") from None
    tokens = PlatformTokens(
        keys=source.keys,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_s=settings.jwt_leeway_s,
        ends_sessions=settings.jwt_ends_sessions,
    )
    return PlatformSigned(tokens, source), key_set


def read_logos(policy: Policy) -> dict[str, Logo]:
    """The logos of the policy file, decoded; raises SettingsError, a line for each that fails."""
    logos, problems = {}, []
    for name, spec in policy.logos.items():
        try:
            logos[name] = read_logo(spec)
        except (PictureError, OSError) as exc:
            problems.append(f"logos.{name}.file: {exc}")
    if problems:
        raise SettingsError("\n".join(problems))
    return logos


def session_settings(
    settings: Settings, logos: Mapping[str, Logo], films: Films
) -> SessionSettings:
    """The settings that sessions and their peers need."""
    ice = IceSettings(
        first_port=settings.udp_ports[0],
        last_port=settings.udp_ports[1],
        addresses=settings.ice_addresses,
        include_loopback=settings.development,
        advertised_address=settings.advertised_address,
        relay_only=settings.relay_only,
        peers=peer_reach(settings.peer_networks),
    )
    connection = ConnectionSettings(
        ice=ice,
        ice_servers=lambda: [
            RTCIceServer(list(server.urls), server.username, server.credential)
            for server in lent(settings, OWN_TURN_NAME)
        ],
        codecs=tuple(Codec(name.upper()) for name in settings.codecs),
    )
    return SessionSettings(
        peer=PeerSettings(
            connection=connection,
            connect_timeout_s=settings.connect_timeout_s,
            suspend_after_s=settings.silence_suspend_s,
            end_after_s=settings.silence_end_s,
        ),
        idle_ttl_s=settings.idle_ttl_s,
        max_picture_bytes=settings.max_picture_bytes,
        max_picture_pixels=settings.max_picture_pixels,
        films=films,
        logos=logos,
        sfu=SfuSettings(
            silence_s=settings.sfu_silence_s,
            retrying=Retrying(
                first_s=settings.sfu_retry_s,
                longest_s=settings.sfu_retry_max_s,
                give_up_s=settings.sfu_give_up_s,
            ),
        ),
    )


def peer_reach(names: Sequence[str]) -> Reach:
    """Where peers may be, by the words of the setting."""
    named = [ipaddress.ip_network(name) for name in names if name not in PEER_WORDS]
    private = PRIVATE if "private" in names else ()
    return Reach(public="public" in names, networks=(*private, *named))


def lent(settings: Settings, name: str, *, until: float = math.inf) -> list[IceServer]:
    """The STUN and TURN servers, those without a credential with one that is good from now on and
    until then (unix seconds) at most."""
    lender = TurnLender(settings.turn_secret, settings.turn_ttl_s)
    credential = lender.lend(name, now=time.time(), until=until)
    return [
        replace(server, username=credential.username, credential=credential.password)
        if server.lacks_credential
        else server
        for server in settings.ice_servers
    ]


def _expires_at(certificates: Path) -> float:
    """When the first certificate of a PEM chain to expire does so, in Unix time. Raises
    SettingsError where there is none."""
    try:
        chain = x509.load_pem_x509_certificates(certificates.read_bytes())
    except ValueError as exc:
        raise SettingsError(f"BACKCLOTH_TLS_CERT: holds no certificate in PEM: {exc}") from exc
    return min(one.not_valid_after_utc for one in chain).timestamp()
