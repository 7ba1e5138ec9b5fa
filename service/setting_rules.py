"""Which settings, each of them allowed alone, do not go together.

Beside ``service.settings``, whose start these messages stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from service.setting_text import is_loopback

if TYPE_CHECKING:
    from service.settings import Settings

PREFIX: Final = "BACKCLOTH_"


def contradictions(settings: Settings, failed: set[str]) -> list[str]:
    """What each field allows alone, and two together do not."""
    problems = []
    if (settings.tls_cert is None) != (settings.tls_key is None) and not failed & {
        f"{PREFIX}TLS_CERT",
        f"{PREFIX}TLS_KEY",
    }:
        problems.append(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY: set both or none")
    if settings.jwt_issuer and bool(settings.jwt_public_keys) == bool(settings.jwks_url):
        problems.append(
            f"{PREFIX}JWT_ISSUER: set one of {PREFIX}JWT_PUBLIC_KEYS and {PREFIX}JWKS_URL beside it"
        )
    if not settings.jwt_issuer and (settings.jwt_public_keys or settings.jwks_url):
        problems.append(f"{PREFIX}JWT_ISSUER: must say who signs the platform's tokens")
    if settings.jwks_url.startswith("http:") and not settings.jwks_networks:
        problems.append(
            f"{PREFIX}JWKS_URL: must begin with https, or {PREFIX}JWKS_NETWORKS name where it leads"
        )
    if settings.silence_end_s <= settings.silence_suspend_s:
        problems.append(
            f"{PREFIX}SILENCE_END_S: {settings.silence_end_s:g} must be above "
            f"{PREFIX}SILENCE_SUSPEND_S, which is {settings.silence_suspend_s:g}"
        )
    problems += _relay_contradictions(settings, failed)
    problems += _fleet_contradictions(settings, failed)
    problems += _webhook_contradictions(settings, failed)
    if settings.sfu_retry_max_s < settings.sfu_retry_s:
        problems.append(
            f"{PREFIX}SFU_RETRY_MAX_S: {settings.sfu_retry_max_s:g} must be at least "
            f"{PREFIX}SFU_RETRY_S, which is {settings.sfu_retry_s:g}"
        )
    in_bucket = settings.library.startswith("s3://")
    if settings.library_endpoint and not in_bucket and f"{PREFIX}LIBRARY" not in failed:
        problems.append(
            f"{PREFIX}LIBRARY_ENDPOINT: {PREFIX}LIBRARY must begin with s3:// beside it"
        )
    if (
        settings.development
        and f"{PREFIX}API_KEYS" not in failed
        and not is_loopback(settings.host)
    ):
        problems.append(
            f"{PREFIX}API_KEYS: without a key the service listens on this machine alone, and "
            f"{PREFIX}HOST is {settings.host}: set at least one key of 16 characters or more, "
            "or a loopback host such as 127.0.0.1 (development mode)"
        )
    return problems


def _relay_contradictions(settings: Settings, failed: set[str]) -> list[str]:
    servers, secret = f"{PREFIX}ICE_SERVERS", f"{PREFIX}TURN_SECRET"
    if failed & {servers, secret}:
        return []
    problems = []
    lacking = any(server.lacks_credential for server in settings.ice_servers)
    if lacking and not settings.turn_secret:
        problems.append(
            f"{servers}: a TURN server has no username and credential, and {secret} is not set"
        )
    if settings.turn_secret and not lacking:
        problems.append(f"{secret}: {servers} has no TURN server without a credential of its own")
    relays = any(url.startswith("turn") for server in settings.ice_servers for url in server.urls)
    if settings.relay_only and not relays:
        problems.append(f"{PREFIX}RELAY_ONLY: needs a TURN server in {servers}")
    return problems


def _fleet_contradictions(settings: Settings, failed: set[str]) -> list[str]:
    names = [f"{PREFIX}FLEET", f"{PREFIX}FLEET_ADDRESS", f"{PREFIX}FLEET_SECRETS"]
    if failed & set(names):
        return []
    given = [bool(settings.fleet), bool(settings.fleet_address), bool(settings.fleet_secrets)]
    if not any(given):
        return []
    if not all(given):
        return [f"{', '.join(names)}: set all or none"]
    problems = []
    if settings.development:
        problems.append(f"{PREFIX}FLEET: is not for development mode: set {PREFIX}API_KEYS")
    if not settings.port:
        problems.append(f"{PREFIX}FLEET: others must know {PREFIX}PORT, which is 0")
    return problems


def _webhook_contradictions(settings: Settings, failed: set[str]) -> list[str]:
    problems = []
    url, secrets_, networks = (f"{PREFIX}WEBHOOK_{name}" for name in ("URL", "SECRETS", "NETWORKS"))
    if bool(settings.webhook_url) != bool(settings.webhook_secrets) and not failed & {
        url,
        secrets_,
    }:
        problems.append(f"{url} and {secrets_}: set both or none")
    plain = settings.webhook_url is not None and settings.webhook_url.startswith("http:")
    if plain and not settings.webhook_networks and networks not in failed:
        problems.append(f"{url}: must begin with https, or {networks} name where it leads")
    if settings.webhook_retry_max_s < settings.webhook_retry_s:
        problems.append(
            f"{PREFIX}WEBHOOK_RETRY_MAX_S: {settings.webhook_retry_max_s:g} must be at least "
            f"{PREFIX}WEBHOOK_RETRY_S, which is {settings.webhook_retry_s:g}"
        )
    return problems
