"""Operations of the server itself: service.web.probes, and this description."""

from __future__ import annotations

from typing import Final

from service.web import problems
from service.web.openapi.operation import Answer, Operation, Who, json_answer
from service.web.openapi.schemas import AMOUNT, COUNT, SWITCH, TEXT, told

PLAIN: Final = {"text/plain": {"schema": TEXT}}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/server",
        "server_load",
        "The server's load",
        who=Who.CALLER,
        answers={
            200: json_answer(
                "Figures of the last seconds",
                told(
                    {
                        "cpu_load_ratio": AMOUNT,
                        "cpu_quota_cores": AMOUNT,
                        "sessions": COUNT,
                        "capacity_ratio": AMOUNT,
                        "development": SWITCH,
                    }
                ),
            )
        },
    ),
    Operation(
        "GET",
        "/healthz",
        "healthz",
        "Whether the process is alive",
        who=Who.EVERYBODY,
        cors=False,
        answers={200: Answer("It is", PLAIN)},
    ),
    Operation(
        "GET",
        "/readyz",
        "readyz",
        "Whether the server takes work: a full one does",
        who=Who.EVERYBODY,
        cors=False,
        answers={200: Answer("It does", PLAIN)},
        problems=(problems.NOT_READY,),
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "What it costs, for Prometheus",
        who=Who.EVERYBODY,
        cors=False,
        answers={200: Answer("The text format of Prometheus", PLAIN)},
    ),
    Operation(
        "GET",
        "/openapi.json",
        "openapi",
        "This document",
        who=Who.EVERYBODY,
        answers={200: json_answer("OpenAPI 3.1", {"type": "object", "required": ["openapi"]})},
    ),
)
