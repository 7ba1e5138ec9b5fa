"""What a session tells of how it is set up, to whoever traces that (service.tracing); by default
nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from service.rtc.peer import Step


class SetUp(Protocol):
    """Told of one peer or viewer, from its answer on."""

    def reached(self, step: Step) -> None: ...
    def ended(self, cause: str) -> None: ...


class Traces(Protocol):
    """Told of sessions; the request that is at hand is the context's."""

    def opened(self, session_id: str) -> None: ...
    def answered(self, session_id: str) -> SetUp: ...


class _Nobody:
    """Listens to nothing."""

    def opened(self, session_id: str) -> None: ...
    def answered(self, session_id: str) -> SetUp:
        return self

    def reached(self, step: Step) -> None: ...
    def ended(self, cause: str) -> None: ...


UNTRACED: Final = _Nobody()
