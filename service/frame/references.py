"""Second frames over the pixels of a first one, without a copy. composite.py hands them out.

PyAV has no call for FFmpeg's av_frame_ref; a filter graph that filters nothing does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import av.filter

if TYPE_CHECKING:
    from av.filter.context import FilterContext

NO_TIME_BASE = "a frame without a time base cannot be referred to"


class FrameReferences:
    """Makes frames whose time, type and colour description are their own, and whose pixels are
    those of another. Not thread-safe."""

    def __init__(self) -> None:
        self._settings: tuple[object, ...] = ()
        self._graph: av.filter.Graph | None = None
        self._ends: tuple[FilterContext, FilterContext] | None = None

    def reference(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Raises av.FFmpegError, and ValueError for a frame without a time base."""
        if frame.time_base is None:
            raise ValueError(NO_TIME_BASE)
        settings = (frame.width, frame.height, frame.format.name, frame.time_base)
        if self._ends is None or settings != self._settings:
            self._ends, self._settings = self._open(frame), settings
        source, sink = self._ends
        source.push(frame)
        reference = sink.pull()
        assert isinstance(reference, av.VideoFrame)
        return reference

    def _open(self, frame: av.VideoFrame) -> tuple[FilterContext, FilterContext]:
        # The contexts do not keep their graph alive.
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base,
        )
        sink = graph.add("buffersink")
        source.link_to(sink)
        graph.configure()
        return source, sink
