"""Nothing of the room leaves the pipeline while an effect is on, whatever goes wrong."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.frame.background import PlaneCache
from service.frame.composite import Composited, Kind, Untouched
from service.frame.faces import anchors
from service.frame.mask import Refusal
from service.frame.picture import Picture
from service.frame.pipeline import Look, Pipeline
from service.frame.planes import view
from service.policy.effects import Blur, Color, Effect, Image, Nothing
from tests.frame.scenes import (
    ORANGE,
    U8,
    KeyNetworks,
    NoFaces,
    bytes_of,
    figure,
    frame_of,
    rgb_of,
    room,
    scene,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

GREEN = (0x00, 0xB1, 0x40)
COLOR = Look(Color("#00b140"))
BLUR = Look(Blur(0.0))
BEACH = Picture(np.full((90, 160, 3), (220, 200, 120), np.uint8), "beach")
IMAGE = Look(Image("beach"), BEACH)
EFFECTS = [COLOR, BLUR, IMAGE]
NAMES = ["color", "blur", "image"]


def pipeline_for(look: Look, networks: KeyNetworks | None = None, **limits: int) -> Pipeline:
    return Pipeline(networks or KeyNetworks(), look, cache=PlaneCache(), **limits)


def composited(result: Composited | Untouched) -> Composited:
    assert isinstance(result, Composited)
    return result


def room_left(result: Composited, rgb: U8, person: NDArray[np.bool_] | None = None) -> float:
    """How much of the room's detail is left outside the person: 0 none, 1 all. The room's 16 px
    stripes are 120 of 255 high: what is left of them, by correlation with the original."""
    original = view(frame_of(rgb)).y.astype(np.float64)
    shown = view(result.frame).y.astype(np.float64)
    detail = original - cv2.GaussianBlur(original, (0, 0), 12)
    shown_detail = shown - cv2.GaussianBlur(shown, (0, 0), 12)
    outside = np.ones(original.shape, bool) if person is None else ~person
    return float((detail * shown_detail)[outside].sum() / (detail * detail)[outside].sum())


def away_from(person: U8, px: int = 8) -> NDArray[np.bool_]:
    return np.asarray(cv2.dilate(person, np.ones((2 * px + 1, 2 * px + 1))) > 0)


@pytest.mark.parametrize("look", EFFECTS, ids=NAMES)
def test_from_the_first_frame_on_the_person_is_there_and_the_room_is_not(look: Look) -> None:
    pipeline = pipeline_for(look)
    rgb, person = scene(640, 360), figure(640, 360)
    inside = cv2.erode(person, np.ones((17, 17))) > 0
    for index in range(4):
        result = composited(pipeline.process(frame_of(rgb, index=index)))
        assert (result.kind, result.refusal, result.look) == (Kind.MATTE, None, look)
        assert abs(room_left(result, rgb, away_from(person))) < 0.02
        assert np.abs(rgb_of(result.frame).astype(int) - ORANGE)[inside].max() < 12
        result.release()


def test_the_colour_comes_back_exactly_and_bit_for_bit_the_same() -> None:
    pipeline = pipeline_for(COLOR)
    person = figure(640, 360)
    seen = set()
    for index in range(6):
        rgb = scene(640, 360, centre=(0.5 + 0.01 * index, 0.6))
        result = composited(pipeline.process(frame_of(rgb, index=index)))
        shown = rgb_of(result.frame)
        far = ~away_from(person, 40)
        assert np.abs(shown.astype(int) - GREEN)[far].max() <= 2
        seen.add(hashlib.sha256(view(result.frame).y[far].tobytes()).digest())
        result.release()
    assert len(seen) == 1


def spoilt(kind: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def answer(found: NDArray[np.float32]) -> NDArray[np.float32]:
        if kind == "raises":
            raise RuntimeError("the network has gone")
        if kind == "nan":
            return np.full_like(found, np.nan)
        if kind == "one nan":
            spoilt_one = found.copy()
            spoilt_one[3, 3] = np.nan
            return spoilt_one
        if kind == "all person":
            return np.ones_like(found)
        if kind == "wrong size":
            return found[:-1]
        return np.zeros_like(found)

    return answer


FAULTS = {
    "raises": Refusal.FAULT,
    "nan": Refusal.NOT_A_NUMBER,
    "one nan": Refusal.NOT_A_NUMBER,
    "all person": Refusal.ALL_PERSON,
    "wrong size": Refusal.WRONG_SIZE,
    "nobody": Refusal.NO_PERSON,
}


@pytest.mark.parametrize("look", EFFECTS, ids=NAMES)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("good_frames", [0, 3])
def test_a_bad_answer_closes_the_frame_and_only_that(
    look: Look, fault: str, good_frames: int
) -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(look, networks)
    index = 0
    for index in range(good_frames):
        rgb = scene(640, 360, centre=(0.5 + 0.05 * index, 0.6))
        assert composited(pipeline.process(frame_of(rgb, index=index))).kind is Kind.MATTE
    networks.person.answer = spoilt(fault)
    rgb = scene(640, 360, centre=(0.3, 0.6))  # the person has moved: the network is asked
    result = composited(pipeline.process(frame_of(rgb, index=index + 1)))
    assert (result.kind, result.refusal) == (Kind.CLOSED, FAULTS[fault])
    assert abs(room_left(result, rgb)) < 0.02
    assert not pipeline.alpha().any()
    if look is COLOR:
        assert np.abs(rgb_of(result.frame).astype(int) - GREEN).max() <= 2
    if look is BLUR:
        assert np.abs(view(result.frame).y.astype(int)).std() < 40
    networks.person.answer = lambda found: found
    after = composited(pipeline.process(frame_of(rgb, index=index + 2)))
    assert after.kind is Kind.MATTE


@pytest.mark.parametrize("look", EFFECTS, ids=NAMES)
def test_an_empty_room_is_closed(look: Look) -> None:
    rgb = room(640, 360)
    result = composited(pipeline_for(look).process(frame_of(rgb)))
    assert (result.kind, result.refusal) == (Kind.CLOSED, Refusal.NO_PERSON)
    assert abs(room_left(result, rgb)) < 0.02


@pytest.mark.parametrize("look", EFFECTS, ids=NAMES)
def test_a_mask_from_before_a_pause_is_not_used(look: Look) -> None:
    """The still picture would do without the network; after a second it must be asked."""
    networks = KeyNetworks()
    pipeline = pipeline_for(look, networks)
    pipeline.process(frame_of(scene(640, 360), index=0))
    networks.person.answer = spoilt("raises")
    result = composited(pipeline.process(frame_of(scene(640, 360), index=30)))
    assert result.kind is Kind.CLOSED


def test_a_still_picture_spares_the_network_but_not_for_long() -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(COLOR, networks)
    for index in range(30):
        result = composited(pipeline.process(frame_of(scene(640, 360), index=index)))
        assert result.kind is Kind.MATTE
        result.release()
    assert networks.person.runs == 4  # twice for the first frame, then every tenth
    # A look at the whole and one closer: three tries, and then one in the second that is left.
    assert networks.faces.runs <= 8


def test_another_look_is_asked_about_in_its_first_frame_though_nothing_moves() -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(COLOR, networks)
    for index in range(5):
        pipeline.process(frame_of(scene(640, 360), index=index)).release()
    before = networks.person.runs
    pipeline.change(Look(Color("#203040", people="speaker")))
    pipeline.process(frame_of(scene(640, 360), index=5)).release()
    assert networks.person.runs == before + 1


@pytest.mark.parametrize("look", EFFECTS, ids=NAMES)
def test_the_size_may_change_at_any_frame(look: Look) -> None:
    pipeline = pipeline_for(look, max_width=1280, max_height=1280)
    sizes = [(640, 360), (1280, 720), (360, 640), (640, 360), (854, 480), (161, 121)]
    for index, (width, height) in enumerate(sizes):
        rgb, person = scene(width, height), figure(width, height)
        result = composited(pipeline.process(frame_of(rgb, index=index)))
        even = (width & ~1, height & ~1)
        assert (result.frame.width, result.frame.height) == even
        assert pipeline.alpha().shape == even[::-1]
        assert result.kind is Kind.MATTE
        cropped, near = rgb[: even[1], : even[0]], away_from(person)[: even[1], : even[0]]
        if min(even) >= 360:  # stripes of a small picture are no detail to a blur of its size
            assert abs(room_left(result, cropped, near)) < 0.03
        result.release()


@given(
    width=st.integers(2, 300),
    height=st.integers(2, 300),
    look=st.sampled_from(EFFECTS),
)
def test_any_size_gives_an_even_frame(width: int, height: int, look: Look) -> None:
    pipeline = pipeline_for(look)
    result = composited(pipeline.process(frame_of(scene(width, height))))
    assert (result.frame.width, result.frame.height) == (width & ~1, height & ~1)
    closed = pipeline.closed(width, height)
    assert (closed.frame.width, closed.frame.height) == (width & ~1, height & ~1)


def test_a_large_frame_is_sent_smaller() -> None:
    pipeline = pipeline_for(COLOR, max_width=640, max_height=360)
    result = composited(pipeline.process(frame_of(scene(1280, 720))))
    assert (result.frame.width, result.frame.height) == (640, 360)
    assert result.kind is Kind.MATTE
    portrait = composited(pipeline.process(frame_of(scene(720, 1280), index=1)))
    assert (portrait.frame.width, portrait.frame.height) == (360, 640)
    assert (pipeline.closed(1280, 720).frame.width, pipeline.closed(720, 1280).frame.width) == (
        640,
        360,
    )


def test_a_look_is_changed_between_two_frames() -> None:
    pipeline = pipeline_for(COLOR)
    rgb, person = scene(640, 360), figure(640, 360)
    looks: list[Look] = [COLOR, BLUR, IMAGE, Look(Color("#102030")), BLUR, COLOR]
    for index, look in enumerate(looks):
        pipeline.change(look)
        result = composited(pipeline.process(frame_of(rgb, index=index)))
        assert result.look is look
        assert abs(room_left(result, rgb, away_from(person))) < 0.02
        result.release()


def test_a_look_changed_within_a_frame_counts_from_the_next() -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(COLOR, networks)

    def change(found: NDArray[np.float32]) -> NDArray[np.float32]:
        pipeline.change(Look(Nothing()))
        return found

    networks.person.answer = change
    result = composited(pipeline.process(frame_of(scene(640, 360))))
    assert result.look is COLOR
    assert np.abs(rgb_of(result.frame)[5, 5].astype(int) - GREEN).max() <= 2
    assert isinstance(pipeline.process(frame_of(scene(640, 360), index=1)), Untouched)


def test_nothing_means_the_frame_itself() -> None:
    pipeline = pipeline_for(Look(Nothing()))
    frame = frame_of(scene(640, 360), index=4)
    result = pipeline.process(frame)
    assert isinstance(result, Untouched)
    assert result.frame is frame
    assert (pipeline.alpha() == 255).all()


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [((161, 121), (1920, 1080), (160, 120)), ((1280, 720), (640, 360), (640, 360))],
)
def test_an_untouched_frame_is_made_even_and_small_enough(
    size: tuple[int, int], limit: tuple[int, int], expected: tuple[int, int]
) -> None:
    pipeline = pipeline_for(Look(Nothing()), max_width=limit[0], max_height=limit[1])
    frame = frame_of(scene(*size), index=9)
    result = pipeline.process(frame)
    assert isinstance(result, Untouched)
    assert (result.frame.width, result.frame.height) == expected
    assert (result.frame.pts, result.frame.time_base) == (9, Fraction(1, 30))
    if size[0] % 2:  # the odd column and row are cut off, nothing is scaled
        assert bytes_of(view(result.frame)) == bytes_of(view(frame))
    else:
        small = cv2.resize(rgb_of(frame), expected, interpolation=cv2.INTER_AREA)
        assert np.abs(rgb_of(result.frame).astype(int) - small).mean() < 8


def test_an_effect_that_comes_on_again_starts_afresh() -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(COLOR, networks)
    pipeline.process(frame_of(scene(640, 360), index=0))
    pipeline.change(Look(Nothing()))
    pipeline.process(frame_of(scene(640, 360), index=1))
    pipeline.change(COLOR)
    networks.person.answer = spoilt("raises")
    assert composited(pipeline.process(frame_of(scene(640, 360), index=2))).kind is Kind.CLOSED


@pytest.mark.parametrize(
    ("effect", "picture", "rgb"),
    [
        (Color("#00b140"), None, GREEN),
        (Image("beach"), BEACH, (220, 200, 120)),
        (Blur(), None, (128, 128, 128)),
        (Nothing(), None, (128, 128, 128)),
    ],
)
def test_closed_needs_no_frame(
    effect: Effect, picture: Picture | None, rgb: tuple[int, int, int]
) -> None:
    closed = pipeline_for(Look(effect, picture)).closed(641, 361)
    assert closed.kind is Kind.CLOSED
    assert (closed.frame.width, closed.frame.height) == (640, 360)
    assert np.abs(rgb_of(closed.frame).astype(int) - rgb).max() <= 2


def test_closed_is_grey_when_the_background_cannot_be_drawn() -> None:
    broken = Picture(np.zeros((0, 0, 3), np.uint8), "broken")
    closed = pipeline_for(Look(Image("beach"), broken)).closed(64, 48)
    assert np.abs(rgb_of(closed.frame).astype(int) - 128).max() <= 2


@pytest.mark.parametrize("look", [*EFFECTS, Look(Nothing())], ids=[*NAMES, "none"])
@pytest.mark.parametrize("size", [(640, 360), (161, 121), (1280, 720)])
def test_the_decoded_frame_is_never_written_to(look: Look, size: tuple[int, int]) -> None:
    pipeline = pipeline_for(look, max_width=640, max_height=640)
    for index in range(3):
        frame = frame_of(scene(*size, centre=(0.4 + 0.1 * index, 0.6)), index=index)
        before = [bytes(plane) for plane in frame.planes]
        pipeline.process(frame)
        assert [bytes(plane) for plane in frame.planes] == before


def test_output_frames_are_used_again() -> None:
    pipeline = pipeline_for(COLOR)
    frames = set()
    for index in range(8):
        result = composited(pipeline.process(frame_of(scene(640, 360), index=index)))
        frames.add(id(result.frame))
        result.release()
    assert len(frames) == 1


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "rgb24"])
@pytest.mark.parametrize("colorspace", ["ITU601", "ITU709"])
def test_the_colour_is_the_same_in_every_meaning_of_the_planes(
    pix_fmt: str, colorspace: str
) -> None:
    source = av.VideoFrame.from_ndarray(scene(640, 360), format="rgb24")
    frame = source
    if pix_fmt != "rgb24":
        frame = source.reformat(
            format=pix_fmt,
            dst_colorspace=colorspace,
            dst_color_range="JPEG" if pix_fmt == "yuvj420p" else "MPEG",
        )
        frame.colorspace = 1 if colorspace == "ITU709" else 5
    result = composited(pipeline_for(COLOR).process(frame))
    assert result.kind is Kind.MATTE
    if pix_fmt != "rgb24":
        assert result.frame.colorspace == (1 if colorspace == "ITU709" else 6)
        assert result.frame.color_range == (2 if pix_fmt == "yuvj420p" else 1)
    shown = result.frame.reformat(
        format="rgb24", src_colorspace="ITU709" if result.frame.colorspace == 1 else "ITU601"
    ).to_ndarray()
    assert np.abs(shown[5, 5].astype(int) - GREEN).max() <= 2
    assert np.abs(shown[250, 320].astype(int) - ORANGE).max() <= 6


def test_stages_are_timed() -> None:
    result = composited(pipeline_for(BLUR).process(frame_of(scene(640, 360))))
    for name, cost in result.stages.items():
        assert cost.wall_s > 0, name
        assert cost.cpu_s >= 0, name
    alone = composited(
        pipeline_for(Look(Color("#00b140", model="selfie"))).process(frame_of(scene(640, 360)))
    )
    assert alone.stages.faces.wall_s == 0


def test_frames_without_time_are_processed() -> None:
    pipeline = pipeline_for(COLOR)
    for _ in range(3):
        frame = frame_of(scene(640, 360))
        frame.pts = None
        result = composited(pipeline.process(frame))
        assert result.kind is Kind.MATTE
        assert result.frame.pts is None


def test_two_tracks_share_a_background() -> None:
    cache = PlaneCache()
    for _ in range(2):
        pipeline = Pipeline(KeyNetworks(), IMAGE, cache=cache)
        shown = composited(pipeline.process(frame_of(scene(640, 360))))
        assert shown.kind is Kind.MATTE
    assert cache.nbytes == 640 * 360 * 3 // 2
    assert len(bytes_of(view(shown.frame))) == cache.nbytes


def test_a_fault_outside_the_networks_is_raised_and_the_next_frame_starts_afresh() -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(COLOR, networks)
    pipeline.process(frame_of(scene(640, 360), index=0))
    runs = networks.person.runs
    with pytest.raises(ValueError, match="1x40"):
        pipeline.process(av.VideoFrame(1, 40, "yuv420p"))
    result = composited(pipeline.process(frame_of(scene(640, 360), index=1)))
    assert result.kind is Kind.MATTE
    assert networks.person.runs == runs + 2  # a still picture, but nothing of before is used


def test_faults_are_logged_once_a_second_and_not_once_a_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    networks = KeyNetworks()
    networks.person.answer = spoilt("raises")
    pipeline = pipeline_for(COLOR, networks)
    for index in range(20):
        pipeline.process(frame_of(scene(64, 36), index=index))
    assert 1 <= len(caplog.records) <= 3
    assert "the network has gone" in caplog.text
    assert "Traceback" in caplog.text


def test_an_answer_that_is_no_mask_hides_no_fault_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(COLOR, networks)
    for index, kind in enumerate(("nan", "raises")):
        networks.person.answer = spoilt(kind)
        pipeline.process(frame_of(scene(64, 36), index=index))
    no_mask, fault = caplog.records
    assert (no_mask.levelname, no_mask.exc_info) == ("WARNING", None)
    assert fault.levelname == "ERROR"
    assert fault.exc_info


def test_a_sessions_own_picture_is_not_kept_where_all_tracks_share() -> None:
    shared = PlaneCache()
    pipeline = Pipeline(KeyNetworks(), IMAGE, cache=shared)
    composited(pipeline.process(frame_of(scene(640, 360)))).release()
    kept = shared.nbytes
    assert kept > 0
    pipeline.change(Look(Image("session"), BEACH))
    result = composited(pipeline.process(frame_of(scene(640, 360), index=1)))
    assert result.kind is Kind.MATTE
    assert shared.nbytes == kept


class _FarFace(NoFaces):
    """Somebody small at the right of the picture."""

    def run(self, image: U8) -> tuple[NDArray[np.float32], ...]:
        boxes, scores = super().run(image)
        centre = anchors()
        nearest = int(np.abs(centre - (0.8, 0.4)).sum(axis=1).argmin())
        boxes[nearest, 2:4] = 8.0  # of 128 px
        scores[nearest] = 4.0
        return boxes, scores


def test_a_closer_look_that_is_no_mask_costs_nothing() -> None:
    """The own region of somebody far away comes back as all person: the frame's own mask stays."""
    networks = KeyNetworks()
    networks.faces = _FarFace()
    pipeline = pipeline_for(COLOR, networks)
    asked: list[float] = []

    def answer(found: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(float(found.mean()))
        return found if found.any() else np.ones_like(found)

    networks.person.answer = answer
    for index in range(4):
        centre = (0.3 + 0.02 * index, 0.6)
        result = composited(pipeline.process(frame_of(scene(640, 360, centre=centre), index=index)))
        assert result.kind is Kind.MATTE
        result.release()
    assert 0.0 in asked, "nobody was looked at closer"
