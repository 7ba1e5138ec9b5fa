"""Operations of WHIP and WHEP: service.web.whip and service.web.whep."""

from __future__ import annotations

from typing import Final

from service.web import problems
from service.web.openapi.operation import Answer, Operation, Who, in_header, in_path, sdp_body
from service.web.openapi.rtc import PEER_ID
from service.web.openapi.schemas import TEXT
from service.web.openapi.sessions import ONE, SESSION_ID
from service.web.rtc import SDP, SDP_FRAGMENT

WHEP: Final = "/v1/whep/{session_id}"
VIEWER: Final = f"{WHEP}/{{viewer_id}}"
VIEWER_ID: Final = in_path("viewer_id")
NOTHING: Final = {204: Answer("There is nothing to see (RFC 9725 4.1)")}
ACCEPT: Final = in_header("Accept", TEXT, f"Must not leave {SDP} out.")


def _answered(description: str) -> dict[int, Answer]:
    content = {SDP: {"schema": TEXT}}
    return {201: Answer(description, content, ("Location", "ETag"), ("Link",))}


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/whip",
        "publish",
        "An SDP offer of a camera that is sent only (WHIP, RFC 9725)",
        who=Who.CALLER,
        description="A platform key opens a session with the defaults, a token is for the session "
        'that it names. A Link with title="whep" says where the session is watched.',
        parameters=(ACCEPT,),
        body=sdp_body(SDP, "Accept-Post"),
        answers=_answered("The answer; the Location is that of the session's peer"),
        problems=(
            problems.FORBIDDEN,
            problems.EFFECT_NOT_ALLOWED,
            problems.UNKNOWN_SESSION,
            problems.NOT_ACCEPTABLE,
            problems.INVALID_FIELD,
            problems.UNSUPPORTED_OFFER,
            problems.BAD_PICTURE,
            problems.MODEL_UNAVAILABLE,
            problems.NO_CAPACITY,
            problems.LIBRARY_UNAVAILABLE,
            problems.NO_MEDIA_PORT,
            # A token's session may be on another server of the fleet.
            problems.PEER_UNREACHABLE,
        ),
    ),
    Operation("GET", "/v1/whip", "get_whip", "Nothing", who=Who.EVERYBODY, answers=NOTHING),
    Operation(
        "GET",
        f"{ONE}/rtc/{{peer_id}}",
        "get_peer",
        "Nothing",
        who=Who.EVERYBODY,
        parameters=(SESSION_ID, PEER_ID),
        answers=NOTHING,
    ),
    Operation(
        "POST",
        WHEP,
        "play",
        "An SDP offer to receive what is made of the session's video (WHEP)",
        who=Who.VIEWER,
        parameters=(SESSION_ID, ACCEPT),
        body=sdp_body(SDP, "Accept-Post"),
        answers=_answered("The answer; the Location is the viewer's"),
        problems=(
            problems.UNKNOWN_SESSION,
            problems.NOT_ACCEPTABLE,
            problems.UNSUPPORTED_OFFER,
            problems.NO_CAPACITY,
            problems.NO_MEDIA_PORT,
        ),
    ),
    Operation(
        "GET",
        WHEP,
        "get_whep",
        "Nothing",
        who=Who.EVERYBODY,
        parameters=(SESSION_ID,),
        answers=NOTHING,
    ),
    Operation(
        "PATCH",
        VIEWER,
        "trickle_viewer",
        "Candidates of the viewer (RFC 8840)",
        who=Who.VIEWER,
        parameters=(
            SESSION_ID,
            VIEWER_ID,
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
        VIEWER,
        "leave",
        "Ends the viewer; the session goes on",
        who=Who.VIEWER,
        parameters=(SESSION_ID, VIEWER_ID),
        answers={200: Answer("It has ended")},
        problems=(problems.UNKNOWN_SESSION, problems.UNKNOWN_PEER),
    ),
    Operation(
        "GET",
        VIEWER,
        "get_viewer",
        "Nothing",
        who=Who.EVERYBODY,
        parameters=(SESSION_ID, VIEWER_ID),
        answers=NOTHING,
    ),
)
