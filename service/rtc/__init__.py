"""WebRTC: the only importers of aiortc. Start reading at peer.py, then track.py."""
