"""docs/settings.md, made of the fields of ``service.settings``: `python -m service settings`.

    python -m service settings                            # what is in effect here, secrets left out
    python -m service settings --markdown > docs/settings.md

A test holds the committed page against this, so a setting cannot be without its line there.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.setting_rules import PREFIX
from service.settings import FROM_FILE, Settings, is_secret, load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

SECTIONS: Final = {
    "host": "HTTP and platform keys",
    "jwt_issuer": "Tokens of the platform",
    "policy_file": "Tenants, origins, TLS",
    "ice_addresses": "Media",
    "max_sessions": "Admission and the CPU",
    "connect_timeout_s": "Times of a session",
    "max_picture_bytes": "Pictures",
    "webhook_url": "Webhooks",
    "fleet": "Several servers",
    "models_dir": "Files, log and traces",
}
"""The first field of each section of the page -> its heading."""

UNITS: Final = {"_s": "s", "_bytes": "bytes", "_pixels": "pixels", "_cores": "cores"}
"""How a field's name ends -> its unit."""

HEAD: Final = f"""# Settings

Made by `python -m service settings --markdown`; the source is `service/settings.py`.

Settings come from the environment, and are read once, at the start. A value that is out of its
range, or a `{PREFIX}` variable that is no setting, stops the start (exit status 2) with every
problem at once, each by its name and with what is allowed. A variable that is set to nothing counts
as not set. `--host` and `--port` of `python -m service serve` go before the environment.
`python -m service settings` checks the environment and shows what is in effect, without secrets.

Where *file* says yes, the value may come from a file that `VARIABLE{FROM_FILE}` names, such as
`{PREFIX}API_KEYS{FROM_FILE}=/run/secrets/api-keys`: UTF-8 text, 64 KiB at most, white space around
it left out. Setting both stops the start. How keys and secrets are exchanged without a gap is in
[operations.md](operations.md#settings).
"""

COLUMNS: Final = """| variable | default | unit | allowed | file | what it is |
|---|---|---|---|---|---|
"""
_OTHER_SETTING: Final = re.compile(
    r"\b(" + "|".join(one.name for one in dataclasses.fields(Settings) if "_" in one.name) + r")\b"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What the documentation says of one variable."""

    name: str
    """Of the field of Settings."""
    variable: str
    default: str
    unit: str
    """"" where it has none."""
    limits: str
    meaning: str
    from_file: bool
    """Whether VARIABLE_FILE may hold it."""


def describe() -> tuple[Setting, ...]:
    """Every setting, in the order of the fields."""
    return tuple(_described(one) for one in dataclasses.fields(Settings))


def markdown() -> str:
    """The whole page."""
    return HEAD + "".join(_lines())


def _lines() -> Iterator[str]:
    for one in describe():
        if one.name in SECTIONS:
            yield f"\n## {SECTIONS[one.name]}\n\n{COLUMNS}"
        limits, meaning = (
            _OTHER_SETTING.sub(lambda found: f"`{PREFIX}{found[0].upper()}`", words)
            for words in (one.limits, one.meaning)
        )
        file = "yes" if one.from_file else ""
        cells = (f"`{one.variable}`", f"`{one.default}`", one.unit, limits, file, meaning)
        yield f"| {' | '.join(cells)} |\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m service settings`."""
    parser.add_argument(
        "--markdown", action="store_true", help="print docs/settings.md and ask no environment"
    )


def run(chosen: argparse.Namespace) -> int:
    """Print the page, or what is in effect; SettingsError where the service would not start."""
    sys.stdout.write(markdown() if chosen.markdown else in_effect(os.environ))
    return 0


def in_effect(environ: Mapping[str, str]) -> str:
    """A line for each setting: its variable, its value, and where that comes from. Of a secret only
    whether it is set."""
    settings = load(environ)
    lines = []
    for one in describe():
        names = (one.variable, one.variable + FROM_FILE)
        source = next((name for name in names if environ.get(name, "").strip()), None)
        if source is None:
            lines.append(f"{one.variable}={one.default}\n")
            continue
        value = "(set)" if one.from_file else _shown(getattr(settings, one.name))
        lines.append(f"{one.variable}={value}  # from {source}\n")
    return "".join(lines)


def _described(one: dataclasses.Field[object]) -> Setting:
    about = one.metadata
    by_name = next((unit for end, unit in UNITS.items() if one.name.endswith(end)), "")
    return Setting(
        name=one.name,
        variable=PREFIX + one.name.upper(),
        default=about["shown"] or _shown(one.default),
        unit=about["unit"] or by_name,
        limits=about["limits"],
        meaning=about["meaning"],
        from_file=is_secret(one),
    )


def _shown(value: object) -> str:
    """A value as its variable would have it, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case (int() as first, int() as last):
            return f"{first}-{last}"
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value).partition("\n")[0]  # the text of a PEM file has many
