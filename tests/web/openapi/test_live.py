"""The document against the real service: schemathesis makes requests of it and judges the answers.

Three runs of its command line, each the same every time: with a platform key over everything, with
a session's own token over that session, and without a credential. Beside its own checks every
answer is held against what the document says of headers, and every JSON against its schema with
all objects closed: nothing is told that is not written down.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice
import pytest
from jsonschema import Draft202012Validator

from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import ROOT, Service, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

KEY = "a-platform-key-of-the-tests"
COMMAND = (sys.executable, "-m", "schemathesis.cli")
CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
RUN_TIMEOUT_S = 500
OF_TRANSPORT = {
    "connection",
    "content-length",
    "content-type",
    "date",
    "server",
    "transfer-encoding",
}
"""Headers of HTTP itself (RFC 9110 6.6.1, RFC 9112), which a document of an API leaves out."""
STREAMS = "events$"
"""Answers that do not end; tests/web/test_events_served.py hears them."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(
        API_KEYS=KEY,
        ALLOWED_ORIGINS="*",
        # Room for all sessions that are asked for, as long as the runs take.
        CPU_CORES="1000",
        IDLE_TTL_S="3600",
        SFU_NETWORKS="127.0.0.0/8",
        SFU_GIVE_UP_S="1",
    ) as started:
        yield started
        assert started.process.poll() is None
    assert not [line for line in started.lines if "a request failed" in line]


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    with urllib.request.urlopen(f"{service.url}/openapi.json") as answer:
        told: dict[str, Any] = json.load(answer)
    return told


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    method: str
    path: str
    status: int
    headers: frozenset[str]
    body: str


def schemathesis(
    service: Service, folder: Path, *arguments: str, bearer: str = "", session_id: str = ""
) -> list[Exchange]:
    """All exchanges of a run whose checks passed."""
    text = CONFIGURATION.read_text()
    if session_id:
        text += f'\n[parameters]\n"path.session_id" = "{session_id}"\n'
    configuration = folder / "schemathesis.toml"
    configuration.write_text(text)
    har = folder / "run.har"
    done = subprocess.run(
        [
            *COMMAND,
            *("--config-file", str(configuration), "run", f"{service.url}/openapi.json"),
            *("--checks", "all", "--report", "har", "--report-har-path", str(har)),
            *(("--header", f"Authorization: Bearer {bearer}") if bearer else ()),
            *arguments,
        ],
        cwd=folder,  # where it keeps what failed
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.web.openapi.hooks",
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(
            "\n".join(line[:300] for line in done.stdout.splitlines())[-20_000:]
            + done.stderr[-5_000:],
            pytrace=False,
        )
    return [
        Exchange(
            entry["request"]["method"],
            entry["request"]["url"].removeprefix(service.url).partition("?")[0],
            entry["response"]["status"],
            frozenset(header["name"].lower() for header in entry["response"]["headers"]),
            entry["response"]["content"].get("text", ""),
        )
        for entry in json.loads(har.read_text())["log"]["entries"]
    ]


class Documented:
    """What the document says of answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._patterns = {
            # A name of the router takes no slash; a path without names comes first.
            path: re.compile(
                re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))
            )
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        }
        closed = copy.deepcopy(document["components"]["schemas"])
        _close(closed)
        self._components = {"components": {"schemas": closed}}

    def path_of(self, exchange: Exchange) -> str | None:
        """The path of the document that was asked; None: none."""
        matching = (path for path, one in self._patterns.items() if one.fullmatch(exchange.path))
        return next(matching, None)

    def complaints(self, exchange: Exchange) -> list[str]:
        """What the answer has that is not written down."""
        path = self.path_of(exchange)
        operation = (
            {} if path is None else self._document["paths"][path].get(exchange.method.lower())
        )
        if not operation:
            # The router's own answer: service/web/openapi/document.py tells of it in words.
            return [] if exchange.status in (404, 405) else [f"{exchange} of no operation"]
        answer = self._resolved(operation["responses"].get(str(exchange.status), {}))
        known = {name.lower() for name in answer.get("headers", {})} | OF_TRANSPORT
        found = [f"{exchange.path}: header {name}" for name in exchange.headers - known]
        for media_type, content in answer.get("content", {}).items():
            if media_type.endswith("json") and exchange.body:
                schema = copy.deepcopy(content["schema"])
                _close(schema)
                validator = Draft202012Validator({**schema, **self._components})
                found += [
                    f"{exchange.path}: {error.message}"
                    for error in validator.iter_errors(json.loads(exchange.body))
                ]
        return found

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            found: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node


def _close(node: Any) -> None:
    """Has every object of the answers' schemas refuse what it does not name."""
    if isinstance(node, dict):
        if "properties" in node and "required" in node and "additionalProperties" not in node:
            node["additionalProperties"] = False
        for child in node.values():
            _close(child)
    elif isinstance(node, list):
        for child in node:
            _close(child)


def require_documented(document: dict[str, Any], exchanges: Sequence[Exchange]) -> None:
    documented = Documented(document)
    complaints = {text for one in exchanges for text in documented.complaints(one)}
    assert not complaints, "\n".join(sorted(complaints)[:40])


def test_everything_with_a_platform_key(
    service: Service, document: dict[str, Any], tmp_path: Path
) -> None:
    exchanges = schemathesis(
        service,
        tmp_path,
        *(
            "--exclude-checks",
            "ignored_auth",
            "--exclude-path-regex",
            f"tracks|background$|{STREAMS}",
        ),
        bearer=KEY,
    )
    require_documented(document, exchanges)
    assert len(exchanges) > 1000
    assert not [one for one in exchanges if one.status >= 500]
    statuses = {one.status for one in exchanges}
    assert {200, 201, 204, 400, 404, 405, 413, 415, 422, 428} <= statuses


def test_a_session_with_its_own_token(
    service: Service, document: dict[str, Any], tmp_path: Path
) -> None:
    """Its id is a real one, so what is asked for is read; it is still there at the end."""
    request = urllib.request.Request(
        f"{service.url}/v1/sessions",
        data=json.dumps({"allowed_effects": ["blur", "image", "color", "none"]}).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        opened = json.load(answer)
    exchanges = schemathesis(
        service,
        tmp_path,
        *("--exclude-checks", "ignored_auth"),
        *("--include-path-regex", r"^/v1/sessions/\{session_id\}", "--exclude-path-regex", STREAMS),
        *("--exclude-operation-id", "delete_session", "--phases", "coverage,fuzzing"),
        bearer=opened["token"],
        session_id=opened["id"],
    )
    require_documented(document, exchanges)
    changes = [one for one in exchanges if one.method == "PATCH" and one.path.count("/") == 3]
    assert {200, 400, 422} <= {one.status for one in changes}
    assert len(changes) > 100
    assert not [one for one in exchanges if one.status >= 500]
    last = urllib.request.Request(
        f"{service.url}/v1/sessions/{opened['id']}",
        headers={"Authorization": f"Bearer {opened['token']}"},
    )
    with urllib.request.urlopen(last) as answer:
        assert json.load(answer)["state"] == "created"


def test_nothing_without_a_credential(
    service: Service, document: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever is asked for: 401, before anything else of the request is judged."""
    exchanges = schemathesis(
        service,
        tmp_path,
        *("--include-path-regex", "^/v1/", "--phases", "fuzzing"),
        *("--exclude-checks", "ignored_auth,missing_required_header,positive_data_acceptance"),
        *("--max-examples", "3"),
    )
    require_documented(document, exchanges)
    documented = Documented(document)
    asked = set()
    for one in exchanges:
        path = documented.path_of(one)
        operation = document["paths"].get(path, {}).get(one.method.lower())
        if operation and operation["security"]:
            assert one.status == 401, one
            asked.add((one.method.lower(), path))
    assert asked == {
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation["security"]
    }


@pytest.mark.peer
async def test_a_call_tells_what_is_written_down(
    service: Service, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only a session with a peer tells: its tracks, their figures."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    exchanges = []

    async def told(response: aiohttp.ClientResponse) -> str:
        text = await response.text()
        names = frozenset(name.lower() for name in response.headers)
        exchanges.append(Exchange(response.method, response.url.path, response.status, names, text))
        return text

    async with aiohttp.ClientSession(service.url) as http:
        async with http.post("/v1/sessions", headers={"Authorization": f"Bearer {KEY}"}) as answer:
            opened = json.loads(await told(answer))
        bearer = {"Authorization": f"Bearer {opened['token']}"}
        client = Client(Camera(moving_picture))
        sdp = {"Content-Type": "application/sdp", **bearer}
        async with http.post(opened["rtc_url"], data=await client.offer(), headers=sdp) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
            await client.accept(await told(answer))
        await client.frames(10)
        async with http.get(f"/v1/sessions/{opened['id']}", headers=bearer) as answer:
            track = json.loads(await told(answer))["tracks"][0]
        assert track["frames"]["sent"] >= 10
        change = {"effect": {"type": "color", "color": "#00b140"}}
        path = f"/v1/sessions/{opened['id']}/tracks/{track['mid']}"
        async with http.patch(path, json=change, headers=bearer) as answer:
            await told(answer)
        async with http.delete(location, headers=bearer) as answer:
            await told(answer)
        await client.close()
    assert [one.status for one in exchanges] == [201, 201, 200, 200, 200]
    require_documented(document, exchanges)
