"""Operations of the SDP exchange: service.web.rtc."""

from __future__ import annotations

from typing import Final

from service.web import problems
from service.web.openapi.operation import Answer, Operation, Who, in_header, in_path, sdp_body
from service.web.openapi.schemas import TEXT
from service.web.openapi.sessions import ONE, SESSION_ID
from service.web.rtc import SDP, SDP_FRAGMENT

PEER_ID: Final = in_path("peer_id")

OPERATIONS: Final = (
    Operation(
        "POST",
        f"{ONE}/rtc",
        "offer",
        "An SDP offer; the peer before it, if any, is replaced",
        who=Who.SESSION,
        description="The exchange has the shape of WHIP (RFC 9725), but media flows both ways. A "
        "token opens its session again where it is not here.",
        parameters=(SESSION_ID,),
        body=sdp_body(SDP, "Accept-Post"),
        answers={
            201: Answer(
                "The answer, with all of the server's candidates",
                {SDP: {"schema": TEXT}},
                ("Location", "ETag"),
                ("Link",),
            )
        },
        problems=(
            problems.EFFECT_NOT_ALLOWED,
            problems.UNKNOWN_SESSION,
            problems.INVALID_FIELD,
            problems.UNSUPPORTED_OFFER,
            problems.BAD_PICTURE,
            problems.MODEL_UNAVAILABLE,
            problems.LIBRARY_UNAVAILABLE,
            problems.NO_CAPACITY,
            problems.NO_MEDIA_PORT,
        ),
    ),
    Operation(
        "PATCH",
        f"{ONE}/rtc/{{peer_id}}",
        "trickle",
        "Candidates of the browser (RFC 8840, RFC 9725 4.3.1)",
        who=Who.SESSION,
        parameters=(
            SESSION_ID,
            PEER_ID,
            in_header("If-Match", TEXT, "The ETag that the answer came with.", required=True),
        ),
        body=sdp_body(SDP_FRAGMENT, "Accept-Patch"),
        answers={204: Answer("They are tried")},
        problems=(
            problems.UNKNOWN_SESSION,
            problems.UNKNOWN_PEER,
            problems.STALE_ETAG,
            problems.UNSUPPORTED_OFFER,
            problems.IF_MATCH_REQUIRED,
        ),
    ),
    Operation(
        "DELETE",
        f"{ONE}/rtc/{{peer_id}}",
        "hang_up",
        "Ends the peer; the session waits for another offer",
        who=Who.SESSION,
        parameters=(SESSION_ID, PEER_ID),
        answers={200: Answer("It has ended")},
        problems=(problems.UNKNOWN_SESSION, problems.UNKNOWN_PEER),
    ),
)
