"""Domain errors: what can go wrong, in the words of the domain.

Everything below ``service.web`` raises these; only ``service.web.problems`` knows which HTTP
status each one becomes. Messages are written for the caller of the API: they say what is wrong
and what the limit is, and never hold a token, an SDP or a session id.
"""

from __future__ import annotations


class BackclothError(Exception):
    """Every error that the service raises on purpose."""


class InvalidField(BackclothError):
    """A field of a request holds a value that is out of its range."""

    def __init__(self, field: str, message: str) -> None:
        """``field`` is a dotted path ("effect.strength"); ``message`` names the limit."""
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


class UnknownSession(BackclothError):
    """No session has this id here, or it has ended."""

    def __init__(self) -> None:
        super().__init__("there is no such session")


class UnknownPeer(BackclothError):
    """The session has no peer of this id: it hung up or was replaced."""

    def __init__(self) -> None:
        super().__init__("there is no such peer")


class UnknownBackground(BackclothError):
    """No background picture has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no background named {name!r}")
        self.name = name


class BuiltInPicture(BackclothError):
    """A picture that comes with the service is neither replaced nor deleted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is built in: it can be neither replaced nor deleted")


class NoLibrary(BackclothError):
    """This server keeps no pictures but those that are built in."""

    def __init__(self) -> None:
        super().__init__(
            "this server has built-in pictures alone: its operator sets BACKCLOTH_LIBRARY, "
            "a folder or s3://bucket/prefix, to keep others"
        )


class LibraryFull(BackclothError):
    """The library has no room for another picture; the message names the bound."""


class LibraryUnavailable(BackclothError):
    """Where the library's pictures are kept fails, or does not answer in time."""

    def __init__(self) -> None:
        super().__init__("the library's store does not answer; try again")


class PreconditionFailed(BackclothError):
    """If-Match or If-None-Match does not hold for a picture."""

    def __init__(self, current: str | None) -> None:
        """``current`` is the quoted entity tag of what is there; None: there is nothing."""
        super().__init__("If-Match or If-None-Match does not hold for what is there now")
        self.current = current


class NotAllowed(BackclothError):
    """The request is well formed, but this session may not do it."""


class Refused(BackclothError):
    """No room for another session, or for another viewer of one."""

    def __init__(
        self,
        reason: str,
        retry_after_s: int,
        move_to: str = "",
        *,
        whom: str = "session",
        cores: float | None = None,
    ) -> None:
        """``reason`` is a bounded word (a metric label); the wait is in whole seconds; ``move_to``
        is the address of another server to ask, "" for the same address; ``cores`` are what a new
        session was expected to use, None where no other server could serve in place of this one."""
        super().__init__(f"no room for another {whom}: {reason}")
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.move_to = move_to
        self.cores = cores


class PictureError(BackclothError):
    """An uploaded picture is not one that the service takes."""


class ModelError(BackclothError):
    """A model file is missing, damaged or not the one that the manifest names."""


class ModelUnavailable(ModelError):
    """A model that the service knows is not installed on this server."""

    def __init__(self, model: str) -> None:
        """``model`` is the name by which it is fetched."""
        super().__init__(
            f"the model {model!r} is not installed on this server; its operator gets it by: "
            f"python -m service models fetch {model}"
        )
        self.model = model


class SettingsError(BackclothError):
    """The environment does not make a configuration; one line per problem."""


class TokenError(BackclothError):
    """A session token is expired, of another audience, or not signed by this service."""


class BadOffer(BackclothError):
    """The SDP or SDP fragment cannot be parsed."""


class UnsupportedOffer(BackclothError):
    """The SDP can be parsed and asks for something that the service does not serve."""


class StaleETag(BackclothError):
    """If-Match names an ICE session or a version that is no longer the current one."""

    def __init__(self, current: str | None = None) -> None:
        """``current`` is the entity tag of a session's version; None: it is about a peer."""
        what = "ICE session of this peer" if current is None else "version of this session"
        super().__init__(f"If-Match does not name the current {what}")
        self.current = current


class NoMediaPort(BackclothError):
    """No UDP port of the configured range is free on any offered address."""
