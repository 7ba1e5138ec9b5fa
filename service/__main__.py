"""The command line: `python -m service serve|matte|evaluate|bench|models|settings|token`.

Imports are made where they are needed: `launch.prepare` has to come before NumPy, and `--help`
should not load a model runtime.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import secrets
import sys
import time
from typing import TYPE_CHECKING, Final

from service import launch, logs
from service.errors import BackclothError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CONFIGURATION = 2
"""As argparse exits for a wrong argument."""
ELSEWHERE: Final = {
    "matte": ("service.clip", "run the live frame path over a file"),
    "evaluate": ("service.evaluation.command", "measure the matte over clips with exact alpha"),
    "bench": ("service.bench", "time the models on this machine"),
    "models": ("service.modelcards", "list the models, or fetch one"),
    "settings": ("service.setting_page", "check and show the settings in effect"),
}
"""Commands that a module of their own has: add_arguments() and run()."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    launch.prepare()
    words = sys.argv[1:] if arguments is None else arguments
    chosen = _parser(words[0] if words else "").parse_args(words)
    try:
        return int(chosen.run(chosen))
    except SettingsError as exc:
        sys.stderr.write(f"backcloth: the configuration is not usable\n{exc}\n")
        return EXIT_CONFIGURATION
    except BackclothError as exc:
        sys.stderr.write(f"backcloth: {exc}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(command: str) -> argparse.ArgumentParser:
    """Knows every command by name, and the options of that one: what the others import costs half a
    second."""
    parser = argparse.ArgumentParser(prog="python -m service", description="Backcloth")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the service")
    serve.add_argument("--host", help="address to listen on (BACKCLOTH_HOST)")
    serve.add_argument("--port", help="port to listen on (BACKCLOTH_PORT)")
    serve.set_defaults(run=_serve)

    for name, (module, about) in ELSEWHERE.items():
        elsewhere = commands.add_parser(name, help=about)
        if name == command:
            work = importlib.import_module(module)
            work.add_arguments(elsewhere)
            elsewhere.set_defaults(run=work.run)

    token = commands.add_parser("token", help="mint a session token (BACKCLOTH_TOKEN_SECRETS)")
    token.add_argument(
        "--spec",
        default="{}",
        metavar="JSON",
        help="what POST /v1/sessions takes: effect, allowed_effects, ttl_s, ...",
    )
    token.add_argument("--session-id", help="the session it is for; random by default")
    token.set_defaults(run=_token)
    return parser


def _serve(chosen: argparse.Namespace) -> int:
    import uvloop

    from service import settings as configuration
    from service.server import serve

    try:
        settings = configuration.load(os.environ, host=chosen.host, port=chosen.port)
        logs.configure(settings.log_level, settings.log_format)
        uvloop.run(serve(settings))
    except Exception as exc:
        if not _logs_json():
            raise
        logs.tell_end(exc)
        return EXIT_CONFIGURATION if isinstance(exc, SettingsError) else 1
    return 0


def _logs_json() -> bool:
    """Asked of the environment itself: the settings may be what could not be read."""
    return os.environ.get("BACKCLOTH_LOG_FORMAT", "").strip().lower() == "json"


def _token(chosen: argparse.Namespace) -> int:
    """Print a session id and a token that opens it on any server with the same secrets."""
    from service import settings as configuration
    from service.policy.policy_file import read_policy
    from service.policy.tokens import Tokens
    from service.web.spec import NO_RULES, parse_spec, spec_json

    if not os.environ.get("BACKCLOTH_TOKEN_SECRETS"):
        raise SettingsError(
            "BACKCLOTH_TOKEN_SECRETS: a token is signed with the servers' secret; set it "
            "(32 bytes or more)"
        )
    settings = configuration.load(os.environ)
    try:
        body = json.loads(chosen.spec)
    except ValueError as exc:
        raise SettingsError(f"--spec: is no JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise SettingsError("--spec: must be a JSON object")
    policy_file = settings.policy_file
    spec = parse_spec(body, NO_RULES if policy_file is None else read_policy(policy_file).tenants)
    session_id = chosen.session_id or secrets.token_urlsafe(16)
    now = time.time()
    tokens = Tokens([secret.encode() for secret in settings.token_secrets])
    token = tokens.mint(session_id, spec_json(spec), now=now, expires_at=now + spec.ttl_s)
    opened = {"id": session_id, "token": token, "expires_at": round(now + spec.ttl_s, 3)}
    sys.stdout.write(json.dumps(opened) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
