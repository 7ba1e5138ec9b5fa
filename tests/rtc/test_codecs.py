"""Encoders and decoders of a track, each against the other."""

from __future__ import annotations

import av
import numpy as np
import pytest
from aiortc.codecs.h264 import h264_depayload
from hypothesis import given
from hypothesis import strategies as st

from service.rtc.codecs import (
    MAX_DECODED_PIXELS,
    PACKET_LIMIT_BYTES,
    Codec,
    Decoder,
    Encoder,
    depayload,
    is_keyframe,
)
from tests.rtc.pictures import luma, moving_picture

BOTH = pytest.mark.parametrize("codec", list(Codec))


def encode(
    encoder: Encoder, codec: Codec, number: int, *, keyframe: bool = False, width: int = 320,
    height: int = 180, bitrate_bps: int = 600_000,
) -> bytes:  # fmt: skip
    frame = moving_picture(number, width=width, height=height)
    payloads = encoder.encode(frame, keyframe=keyframe, bitrate_bps=bitrate_bps)
    assert all(len(payload) <= PACKET_LIMIT_BYTES for payload in payloads)
    return b"".join(depayload(codec, payload) for payload in payloads)


@BOTH
def test_what_is_encoded_decodes_to_nearly_the_same_without_delay(codec: Codec) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    for number in range(10):
        (picture,) = decoder.decode(encode(encoder, codec, number), number * 3000)
        assert picture.pts == number * 3000
        error = np.abs(luma(picture).astype(int) - luma(moving_picture(number)).astype(int))
        assert error.mean() < 4


@BOTH
def test_keyframes_are_made_on_request_and_told_apart(codec: Codec) -> None:
    encoder = Encoder(codec)
    keyframes = [
        is_keyframe(codec, encode(encoder, codec, number, keyframe=number == 5))
        for number in range(8)
    ]
    assert keyframes == [True, False, False, False, False, True, False, False]


@BOTH
def test_the_decoders_picture_type_is_not_obeyed(codec: Codec) -> None:
    """A decoded keyframe carries pict_type I: sending it on must not make another keyframe."""
    encoder, source, decoder = Encoder(codec), Encoder(codec), Decoder(codec)
    for number in range(6):
        coded = encode(source, codec, number, keyframe=number == 3)
        (picture,) = decoder.decode(coded, number * 3000)
        payloads = encoder.encode(picture, keyframe=False, bitrate_bps=600_000)
        data = b"".join(depayload(codec, payload) for payload in payloads)
        assert is_keyframe(codec, data) is (number == 0)


@BOTH
def test_repeated_and_backward_timestamps_are_encoded(codec: Codec) -> None:
    encoder = Encoder(codec)
    for pts in (0, 3000, 3000, 1000, 6000):
        frame = moving_picture(1)
        frame.pts = pts
        assert encoder.encode(frame, keyframe=False, bitrate_bps=600_000)


@BOTH
def test_a_change_of_size_is_a_keyframe_of_that_size(codec: Codec) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    sizes = []
    for number, (width, height) in enumerate([(320, 180), (640, 360), (180, 320), (320, 180)]):
        coded = encode(encoder, codec, number, width=width, height=height)
        assert is_keyframe(codec, coded)
        (picture,) = decoder.decode(coded, number * 3000)
        sizes.append((picture.width, picture.height))
    assert sizes == [(320, 180), (640, 360), (180, 320), (320, 180)]


def test_an_encoder_that_failed_starts_afresh() -> None:
    """x264 refuses odd sizes; the frame path makes them even, and this is what if it did not."""
    encoder = Encoder(Codec.H264)
    encode(encoder, Codec.H264, 0)
    odd = moving_picture(1).reformat(width=321, height=181)
    with pytest.raises((av.FFmpegError, ValueError)):
        encoder.encode(odd, keyframe=False, bitrate_bps=600_000)
    assert is_keyframe(Codec.H264, encode(encoder, Codec.H264, 1))


@BOTH
def test_garbage_is_an_error_and_the_decoder_goes_on(codec: Codec) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    assert decoder.decode(encode(encoder, codec, 0), 0)
    with pytest.raises(av.FFmpegError):
        decoder.decode(b"\x00\x00\x01\x67" + bytes(range(200)) * 3, 3000)
    assert decoder.decode(encode(encoder, codec, 2, keyframe=True), 6000)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
def test_a_picture_over_the_limit_is_refused(codec: Codec) -> None:
    width, height = 2560, 1920
    assert width * height > MAX_DECODED_PIXELS
    encoder, decoder = Encoder(codec), Decoder(codec)
    coded = encode(encoder, codec, 0, width=width, height=height, bitrate_bps=4_000_000)
    with pytest.raises(av.FFmpegError):
        decoder.decode(coded, 0)


def test_colour_range_and_matrix_are_written_into_h264() -> None:
    encoder, decoder = Encoder(Codec.H264), Decoder(Codec.H264)
    frame = moving_picture(0)
    frame.color_range, frame.colorspace = 2, 1
    payloads = encoder.encode(frame, keyframe=False, bitrate_bps=600_000)
    data = b"".join(depayload(Codec.H264, payload) for payload in payloads)
    (picture,) = decoder.decode(data, 0)
    assert (picture.color_range, picture.colorspace) == (2, 1)


def test_malformed_payloads_are_value_errors() -> None:
    for codec, payload in [(Codec.H264, b"\x78\x00"), (Codec.H264, b"\x1f\x00"), (Codec.VP8, b"")]:
        with pytest.raises(ValueError, match=r"."):
            depayload(codec, payload)


@given(st.binary(max_size=40))
def test_h264_payloads_are_read_as_aiortc_reads_them(payload: bytes) -> None:
    try:
        expected = h264_depayload(payload)
    except ValueError:
        with pytest.raises(ValueError, match=r"NAL|STAP"):
            depayload(Codec.H264, payload)
    else:
        assert depayload(Codec.H264, payload) == expected
