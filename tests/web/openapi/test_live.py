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
from tests.web.openapi.clients import many_clients

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

KEY = "a-platform-key-of-the-tests"
COMMAND = (sys.executable, "-m", "schemathesis.cli")
CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
OF_NOBODY = Path(__file__).parent / "schemathesis-nobody.toml"
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


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(
        LIBRARY=str(tmp_path_factory.mktemp("library")),
        LIBRARY_MAX_PICTURES="2",
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
def url(service: Service) -> Iterator[str]:
    with many_clients(service.port) as relayed:
        yield relayed


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
    url: str,
    folder: Path,
    *arguments: str,
    configuration: Path = CONFIGURATION,
    bearer: str = "",
    session_id: str = "",
) -> list[Exchange]:
    """All exchanges of a run whose checks passed."""
    text = configuration.read_text()
    if session_id:
        text += f'\n[parameters]\n"path.session_id" = "{session_id}"\n'
    configured = folder / "schemathesis.toml"
    configured.write_text(text)
    har = folder / "run.har"
    done = subprocess.run(
        [
            *COMMAND,
            *("--config-file", str(configured), "run", f"{url}/openapi.json"),
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
            entry["request"]["url"].removeprefix(url).partition("?")[0],
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


@pytest.fixture(scope="module")
def with_a_platform_key(url: str, tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    """Every call of the document."""
    return schemathesis(url, tmp_path_factory.mktemp("platform"), bearer=KEY)


@pytest.fixture(scope="module")
def own_session(url: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/sessions",
        data=json.dumps({"allowed_effects": ["blur", "image", "color", "none"]}).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        opened: dict[str, Any] = json.load(answer)
    return opened


@pytest.fixture(scope="module")
def with_its_own_token(
    url: str, own_session: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> list[Exchange]:
    """Every call to one session that is there, but the one that ends it."""
    return schemathesis(
        url,
        tmp_path_factory.mktemp("session"),
        *("--include-path-regex", r"^/v1/(sessions|whep)/\{session_id\}"),
        *("--exclude-operation-id", "delete_session", "--phases", "coverage,fuzzing"),
        bearer=own_session["token"],
        session_id=own_session["id"],
    )


@pytest.fixture(scope="module")
def without_a_credential(url: str, tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    """Every call of the API. Nothing can follow from a 401, so no call follows another."""
    return schemathesis(
        url,
        tmp_path_factory.mktemp("nobody"),
        *("--include-path-regex", "^/v1/", "--phases", "coverage,fuzzing"),
        configuration=OF_NOBODY,
    )


def secured(document: dict[str, Any]) -> set[tuple[str, str]]:
    """The calls that need a credential, by method and path."""
    return {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation["security"]
    }


def answered(
    document: dict[str, Any], exchanges: Sequence[Exchange], *statuses: int
) -> set[tuple[str, str]]:
    """The calls, by method and path, that were answered so; by any status where none is given."""
    documented = Documented(document)
    return {
        (one.method, path)
        for one in exchanges
        if one.status in statuses or not statuses
        if (path := documented.path_of(one)) is not None
    }


def require_refused(document: dict[str, Any], exchanges: Sequence[Exchange]) -> None:
    """Whatever needs a credential and succeeded was tried without it and with a wrong one, which
    the check that is called ignored_auth does."""
    succeeded = answered(document, exchanges, 200, 201, 204) & secured(document)
    assert len(succeeded) > 5
    assert succeeded <= answered(document, exchanges, 401)


def test_everything_with_a_platform_key(
    document: dict[str, Any], with_a_platform_key: list[Exchange]
) -> None:
    exchanges = with_a_platform_key
    require_documented(document, exchanges)
    require_refused(document, exchanges)
    statuses = {one.status for one in exchanges}
    assert {200, 201, 204, 304, 400, 401, 404, 405, 406, 409, 412, 413, 415, 422, 428} <= statuses
    # Of all that is asked for, only a library without room is this server's to be sorry for.
    assert {(one.method, one.status) for one in exchanges if one.status >= 500} == {("PUT", 507)}
    every = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    # The document itself is read before the run, and left out of it.
    assert every - answered(document, exchanges) == {("GET", "/openapi.json")}


@pytest.mark.parametrize(
    ("method", "statuses"),
    [
        ("GET", {200, 401, 404, 422}),
        ("PUT", {200, 201, 401, 409, 412, 422, 507}),
        ("DELETE", {204, 401, 404, 409, 412, 422}),
    ],
)
def test_pictures_come_into_the_library_and_go(
    with_a_platform_key: list[Exchange], method: str, statuses: set[int]
) -> None:
    of_one = re.compile("/v1/backgrounds/[^/]+")
    seen = {
        one.status
        for one in with_a_platform_key
        if one.method == method and of_one.fullmatch(one.path)
    }
    assert statuses <= seen


def test_a_session_with_its_own_token(
    url: str,
    document: dict[str, Any],
    own_session: dict[str, Any],
    with_its_own_token: list[Exchange],
) -> None:
    """Its id is a real one, so what is asked for is read; it is still there at the end."""
    exchanges = with_its_own_token
    require_documented(document, exchanges)
    require_refused(document, exchanges)
    changes = [one for one in exchanges if one.method == "PATCH" and one.path.count("/") == 3]
    assert {200, 400, 401, 403, 412, 415, 422} <= {one.status for one in changes}
    assert len(changes) > 500
    assert len([one for one in changes if one.status == 200]) > 20
    assert ("GET", "/v1/sessions/{session_id}/events") in answered(document, exchanges, 200)
    assert not [one for one in exchanges if one.status >= 500]
    last = urllib.request.Request(
        f"{url}/v1/sessions/{own_session['id']}",
        headers={"Authorization": f"Bearer {own_session['token']}"},
    )
    with urllib.request.urlopen(last) as answer:
        assert json.load(answer)["state"] == "created"


def test_nothing_without_a_credential(
    document: dict[str, Any], without_a_credential: list[Exchange]
) -> None:
    """Whatever is asked for: 401, before anything else of the request is judged."""
    exchanges = without_a_credential
    require_documented(document, exchanges)
    asked = secured(document)
    documented = Documented(document)
    for one in exchanges:
        if (one.method, documented.path_of(one)) in asked:
            assert one.status == 401, one
    assert asked <= answered(document, exchanges)


def test_a_few_thousand_cases(
    with_a_platform_key: list[Exchange],
    with_its_own_token: list[Exchange],
    without_a_credential: list[Exchange],
) -> None:
    """Of all runs together; they make the same cases each time, but for those that follow from
    what was answered."""
    assert len(with_a_platform_key) > 3500
    assert len(with_its_own_token) > 1500
    assert len(without_a_credential) > 2500


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
