"""client.js as an npm package: what it holds, and that TypeScript knows how to use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

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
  const fps: number | null = (await processed.stats()).fps;
  console.log(fps, processed.stream.getTracks(), wrong);
  return processed;
}

export const words = (error: unknown): string =>
  error instanceof BackclothError ? `${error.reason}: ${error.message}` : "";
"""


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


def test_its_name_resolves_to_the_module(package: Path, npm_modules: Path) -> None:
    show = f"console.log(Object.keys(await import('{NAME}')).join())"
    names = run(
        "node", "--input-type=module", "-e", show, cwd=package.parents[1], modules=npm_modules
    )
    assert names.strip() == "BackclothError,Processed,start"
