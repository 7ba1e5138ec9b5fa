"""What is done to the person's own picture, after the mask is known and before it is composed.

light.py brightens a dark face; framing.py says which part of the frame is shown, and crop.py cuts
it, mask and all. An effect without such an option costs nothing here. Used by pipeline.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.frame.blend import person_box
from service.frame.crop import Crop, MaskCrop
from service.frame.framing import WHOLE, Framing
from service.frame.light import Light

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.mask import Mask
    from service.frame.planes import Planes
    from service.frame.tracks import Track
    from service.policy.effects import Effect

LOOKS = 2
"""That found a face, before the picture moves for it: a false one is found once."""
SOLID = 128  # of 255


class Staging:
    """Of one track."""

    def __init__(self) -> None:
        self._framing = Framing()
        self._source, self._room, self._mask = Crop(), Crop(), MaskCrop()
        self._light = Light()
        self._size = (0, 0)

    def prepare(
        self,
        source: Planes,
        mask: Mask,
        grid: Grid,
        people: Sequence[Track],
        now_s: float,
        effect: Effect,
    ) -> tuple[Planes, Mask]:
        """The picture that the person is taken from, and its mask, of the same sizes.

        people: those who are shown. A mask that is none comes back as it is, to be refused.
        """
        framing: float = getattr(effect, "framing", 0.0)
        light: float = getattr(effect, "light", 0.0)
        if not (framing or light) and self._framing.window is WHOLE and self._light.power == 1.0:
            return source, mask
        if mask.refusal(*source.size) is not None:
            return source, mask
        if source.size != self._size:
            self._framing.reset()
            self._size = source.size
        faces = _faces(people, mask)
        self._light.follow(grid, faces, now_s, light)
        if self._light.power != 1.0:
            source = self._light.apply(source, mask.alpha)
        window = self._framing.follow(faces, now_s, framing)
        if window is WHOLE:
            return source, mask
        mask = self._mask.cut(mask, window)
        return self._source.cut(source, window, person_box(mask.alpha, *source.size)), mask

    def room(self, planes: Planes) -> Planes:
        """The same part of the camera's room, blurred as it is."""
        window = self._framing.window
        return planes if window is WHOLE else self._room.whole(planes, window)


def needs_faces(effect: Effect) -> bool:
    """Whether faces have to be known, also where the model can do without them."""
    return bool(getattr(effect, "framing", 0.0) or getattr(effect, "light", 0.0))


def _faces(people: Sequence[Track], mask: Mask) -> list[Face]:
    """Faces that were seen more than once and belong to the mask, not to a picture on the wall."""
    rows, columns = mask.alpha.shape
    found = []
    for track in people:
        x, y = track.centre
        column, row = int(x * columns), int(y * rows)
        inside = 0 <= column < columns and 0 <= row < rows
        if inside and track.looks >= LOOKS and mask.alpha[row, column] >= SOLID:
            found.append(track.face)
    return found
