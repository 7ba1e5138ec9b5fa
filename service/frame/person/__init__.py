"""Where a frame's person probability comes from: one module a model, one interface for all.

    selfie.py    MediaPipe's segmenters; `hybrid` adds the faces, which say whose mask it is
    outline.py   `blazeface`: head and shoulders drawn from the face's box and key points
    facemesh.py  the same from 468 points of the face
    posenet.py   the same from a body's joints
    bodypix.py, rvm.py   larger segmenters, for comparison

answer.py holds what they share: a model's floats checked for being a mask, and pasted into the
grid. The drawn ones share more: figure.py and body.py draw people, colours.py pulls what is drawn
to the edges of the picture, upright.py and letterbox.py cut pictures out.
Time, edges and components are matte.py's, whatever the model.
"""

from __future__ import annotations

from service.frame.person.choice import NETWORKS, make_source, networks_of
from service.frame.person.source import FaceUse, Network, Networks, Source

__all__ = ["NETWORKS", "FaceUse", "Network", "Networks", "Source", "make_source", "networks_of"]
