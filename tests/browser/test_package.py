"""client.js as an npm package: what it holds, and that TypeScript knows how to use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from service.web.openapi import document
from service.web.openapi.schemas import components
from tests.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "service" / "web" / "page"
NAME = "backcloth-client"
TIMEOUT_S = 90

PROGRAM = """
import { BackclothError, start, type Effect, type Processed } from "backcloth-client";

const blur: Effect = { type: "blur", strength: 0.7, edge: 0.2, people: "speaker" };
// @ts-expect-error an effect that there is not
const wrong: Effect = { type: "blurred" };

export async function join(camera: MediaStream, sender: RTCRtpSender): Promise<Processed> {
  const processed = await start(camera, {
    baseUrl: "https://backcloth.example",
    sessionId: "id",
    token: "token",
    effect: blur,
    onState: ({ state, retryInMs }) => console.log(state === "live", retryInMs?.toFixed()),
  });
  processed.addEventListener("track", ({ detail }) => void sender.replaceTrack(detail.track));
  processed.addEventListener("error", ({ detail }) => console.log(detail.reason, detail.status));
  processed.addEventListener("happened", ({ detail }) => console.log(detail.type, detail.cause));
  // @ts-expect-error an event that there is not
  processed.addEventListener("tracks", () => undefined);
  // @ts-expect-error the session's id is not to be changed
  processed.sessionId = "another";
  const { fps, server, load } = await processed.stats();
  const rate: number | null = fps;
  const delayMs: number | null = server?.tracks[0]?.latency_ms.p95 ?? null;
  const share: string | undefined = load?.cpu_load_ratio.toFixed(2);
  // @ts-expect-error a member that a session does not have
  console.log(server?.trackz);
  if (server) await processed.setEffect(server.effect);
  console.log(rate, delayMs, share, processed.stream.getTracks(), wrong);
  return processed;
}

export const words = (error: unknown): string =>
  error instanceof BackclothError ? `${error.reason}: ${error.message}` : "";
"""

# What the service says of its answers, in TypeScript (`typescript`), against the package's types:
# neither has a member that the other has not, and what is told is of the type that is documented.
AGREEMENT = """
import type { Effect, ServerLoad, Session } from "backcloth-client";

type Told<T> = T extends readonly (infer Item)[] ? Told<Item>[]
  : T extends object ? { [Key in keyof T]-?: [Told<NonNullable<T[Key]>>] } : unknown;
type Same<One, Other> = (<T>() => T extends Told<One> ? 1 : 2) extends
  (<T>() => T extends Told<Other> ? 1 : 2) ? true : false;
"""


def typescript(schema: dict[str, Any]) -> str:
    """The type of what a JSON Schema of the service's describes."""
    match schema:
        case {"$ref": str(name)}:
            name = name.rpartition("/")[2]
            own = {"EffectTold": "Effect", "IceServer": "RTCIceServer"}
            return own.get(name) or typescript(components()[name])
        case {"const": value}:
            return json.dumps(value)
        case {"enum": values}:
            return " | ".join(json.dumps(value) for value in values)
        case {"anyOf": choices} | {"oneOf": choices}:
            return " | ".join(f"({typescript(each)})" for each in choices)
        case {"type": "array", "items": items}:
            return f"({typescript(items)})[]"
        case {"type": "object", "properties": properties}:
            needed = schema.get("required", ())
            members = (
                f"{name}{'' if name in needed else '?'}: {typescript(each)}"
                for name, each in properties.items()
            )
            return f"{{ {'; '.join(members)} }}"
        case {"type": "object", "additionalProperties": values}:
            return f"{{ [key: string]: {typescript(values)} }}"
    return {"integer": "number"}.get(schema["type"], str(schema["type"]))


def run(*command: str, cwd: Path, modules: Path) -> str:
    path = os.pathsep.join([str(modules / ".bin"), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(npm_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `npm pack` makes, unpacked where a project of somebody else would have it."""
    copy = tmp_path_factory.mktemp("repository")
    page = copy / PAGE.relative_to(ROOT)
    shutil.copytree(PAGE, page)
    shutil.copy(ROOT / "LICENSE", copy)
    run("npm", "pack", "--pack-destination", str(copy), cwd=page, modules=npm_modules)
    # Nothing of the packing stays behind.
    assert sorted(each.name for each in page.iterdir()) == sorted(
        each.name for each in PAGE.iterdir()
    )
    project = tmp_path_factory.mktemp("project")
    (archive,) = copy.glob("*.tgz")
    shutil.unpack_archive(archive, project / "unpacked", "gztar")
    installed = project / "node_modules" / NAME
    installed.parent.mkdir()
    (project / "unpacked" / "package").rename(installed)
    return installed


def test_it_holds_one_file_its_types_and_its_licence(package: Path) -> None:
    assert sorted(each.name for each in package.iterdir()) == [
        "LICENSE", "README.md", "client.d.ts", "client.js", "package.json",
    ]  # fmt: skip
    assert (package / "client.js").read_bytes() == (PAGE / "client.js").read_bytes()
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    about = json.loads((package / "package.json").read_text())
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (about["name"], about["version"]) == (NAME, service["version"])
    assert about["license"] == service["license"]
    assert "dependencies" not in about


def test_a_typescript_program_type_checks_against_it(package: Path, npm_modules: Path) -> None:
    project = package.parents[1]
    (project / "program.ts").write_text(PROGRAM)
    for resolution, module in (("bundler", "esnext"), ("nodenext", "nodenext")):
        run(
            "tsc", "--ignoreConfig", "--noEmit", "--strict", "--target", "es2022", "--types", "",
            "--lib", "es2023,dom", "--module", module, "--moduleResolution", resolution,
            "program.ts", cwd=project, modules=npm_modules,
        )  # fmt: skip


def test_the_types_of_what_the_service_tells_are_the_services_own(
    package: Path, npm_modules: Path
) -> None:
    """tests/web/openapi/test_live.py holds that the service tells what its schemas say."""
    described = document.document((), development=False)["paths"]["/v1/server"]["get"]
    load = described["responses"]["200"]["content"]["application/json"]["schema"]
    lines = [AGREEMENT]
    for name, schema in (("Session", components()["Session"]), ("ServerLoad", load)):
        lines += [
            f"declare const told{name}: {typescript(schema)};",
            f"export const as{name}: {name} = told{name};",
            f"export const same{name}: Same<typeof told{name}, {name}> = true;",
        ]
    effect = typescript(components()["EffectTold"])
    lines += [f"declare const effect: {effect};", "export const asEffect: Effect = effect;"]
    project = package.parents[1]
    (project / "agreement.ts").write_text("\n".join(lines))
    run(
        "tsc", "--ignoreConfig", "--noEmit", "--strict", "--target", "es2022", "--types", "",
        "--lib", "es2023,dom", "--module", "nodenext", "agreement.ts",
        cwd=project, modules=npm_modules,
    )  # fmt: skip


def test_its_name_resolves_to_the_module(package: Path, npm_modules: Path) -> None:
    show = f"console.log(Object.keys(await import('{NAME}')).join())"
    names = run(
        "node", "--input-type=module", "-e", show, cwd=package.parents[1], modules=npm_modules
    )
    assert names.strip() == "BackclothError,Processed,start"
