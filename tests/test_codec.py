"""Pictures to bytes and back, and what is refused before it is decoded."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamgen.codec import check_pixels, decode, encode, encode_png, flatten, pack_alpha, unpack_alpha
from streamgen.errors import CodecError
from streamgen.frames import Pixels
from streamgen.wire import MAX_PIXELS, Codec


def refusal(codec: Codec, payload: bytes, width: int, height: int) -> str:
    with pytest.raises(CodecError) as caught:
        decode(codec, payload, width, height)
    return caught.value.code


def test_a_jpeg_comes_back_nearly_as_it_was(picture: Pixels) -> None:
    decoded = decode(Codec.JPEG, encode(picture, Codec.JPEG, 95), 128, 128)
    assert decoded.shape == picture.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - picture).mean() < 5


def test_a_raw_picture_comes_back_exactly(picture: Pixels) -> None:
    assert (decode(Codec.RAW, encode(picture, Codec.RAW), 128, 128) == picture).all()


def test_a_view_of_other_strides_is_encoded_as_it_looks(picture: Pixels) -> None:
    mirrored = picture[:, ::-1]
    assert (decode(Codec.RAW, encode(mirrored, Codec.RAW), 128, 128) == mirrored).all()
    assert np.abs(decode(Codec.JPEG, encode(mirrored, Codec.JPEG, 95), 128, 128).astype(int) - mirrored).mean() < 5


def test_a_greyscale_jpeg_gets_three_equal_channels(picture: Pixels) -> None:
    grey = np.ascontiguousarray(picture[:, :, :1])
    payload = simplejpeg.encode_jpeg(grey, colorspace="GRAY", colorsubsampling="Gray")
    decoded = decode(Codec.JPEG, payload, 128, 128)
    assert decoded.shape == (128, 128, 3)
    assert (decoded[..., 0] == decoded[..., 2]).all()


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_jpegs_of_other_colour_spaces_become_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (32, 16)).save(file, "JPEG")
    assert decode(Codec.JPEG, file.getvalue(), 32, 16).shape == (16, 32, 3)


def test_a_progressive_jpeg_is_decoded(picture: Pixels) -> None:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", progressive=True)
    assert decode(Codec.JPEG, file.getvalue(), 128, 128).shape == (128, 128, 3)


def test_a_jpeg_that_repeats_scans_without_end_is_refused(picture: Pixels) -> None:
    payload = encode(picture, Codec.JPEG)
    scan = payload[payload.index(b"\xff\xda") : -2]
    assert refusal(Codec.JPEG, payload[:-2] + scan * 70 + payload[-2:], 128, 128) == "undecodable"


def test_a_jpeg_of_another_size_is_refused(picture: Pixels) -> None:
    assert refusal(Codec.JPEG, encode(picture, Codec.JPEG), 128, 127) == "size_mismatch"


def test_a_jpeg_that_hides_its_real_size_is_refused_before_decoding(picture: Pixels) -> None:
    payload = bytearray(encode(picture, Codec.JPEG))
    start = payload.index(b"\xff\xc0")
    payload[start + 5 : start + 9] = b"\xff\xdc\xff\xdc"  # 65500 x 65500 pixels would be 12 GB
    assert refusal(Codec.JPEG, bytes(payload), 128, 128) == "size_mismatch"


def test_raw_bytes_of_another_count_are_refused(picture: Pixels) -> None:
    assert refusal(Codec.RAW, picture.tobytes()[:-1], 128, 128) == "size_mismatch"


def test_more_than_4_megapixels_are_refused_before_decoding() -> None:
    assert refusal(Codec.JPEG, b"never looked at", MAX_PIXELS, 2) == "frame_too_large"


def test_a_png_is_refused_as_a_frame(picture: Pixels) -> None:
    assert refusal(Codec.PNG, encode_png(picture), 128, 128) == "undecodable"


@pytest.mark.parametrize("kept", [0, 1, 2, 20, 300, -2])
def test_a_jpeg_that_was_cut_is_refused(picture: Pixels, kept: int) -> None:
    assert refusal(Codec.JPEG, encode(picture, Codec.JPEG)[:kept], 128, 128) == "undecodable"


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_a_picture_or_a_codec_error(data: bytes, starts_well: bool) -> None:
    payload = encode(np.zeros((16, 16, 3), np.uint8), Codec.JPEG)[:200] + data if starts_well else data
    try:
        assert decode(Codec.JPEG, payload, 16, 16).shape == (16, 16, 3)
    except CodecError as error:
        assert error.code in {"undecodable", "size_mismatch"}


@pytest.fixture
def transparent(picture: Pixels) -> Pixels:
    """The picture, more transparent towards the right."""
    alpha = np.broadcast_to(np.arange(0, 256, 2, np.uint8), (128, 128))
    return np.dstack([picture, alpha])


def test_packed_alpha_is_the_colour_with_its_alpha_beside_it_as_grey(transparent: Pixels) -> None:
    packed = pack_alpha(transparent)
    assert packed.shape == (128, 256, 3) and packed.flags.c_contiguous
    assert (packed[:, :128] == transparent[..., :3]).all()
    assert (packed[:, 128:] == transparent[..., 3:]).all()
    assert (unpack_alpha(packed) == transparent).all()


@pytest.mark.parametrize(("codec", "bound"), [(Codec.RAW, 0), (Codec.JPEG, 3)])
def test_a_picture_with_alpha_travels_packed(transparent: Pixels, codec: Codec, bound: int) -> None:
    came = unpack_alpha(decode(codec, encode(transparent, codec, 95), 256, 128))
    assert came.shape == transparent.shape
    assert np.abs(came[..., 3].astype(int) - transparent[..., 3]).max() <= bound
    assert np.abs(came.astype(int) - transparent).mean() <= bound


def test_without_alpha_a_picture_is_shown_over_black() -> None:
    levels = np.arange(256, dtype=np.uint8)
    colour, alpha = np.meshgrid(levels, levels)
    flat = flatten(np.dstack([colour, colour, 255 - colour, alpha]))
    exact = np.dstack([colour, colour, 255 - colour]) * (alpha[..., None] / 255)
    assert np.abs(flat - exact).max() <= 0.5


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_is_lossless_and_readable_by_others(picture: Pixels, channels: int) -> None:
    pixels = np.dstack([picture, picture[..., :1]])[..., :channels]
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert (np.asarray(image) == pixels).all()


def test_a_picture_of_one_pixel_is_a_png() -> None:
    with Image.open(io.BytesIO(encode_png(np.full((1, 1, 3), 7, np.uint8)))) as image:
        assert image.getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        [[1, 2, 3]],
    ],
    ids=["no channels", "four channels", "floats", "a list"],
)
def test_only_uint8_rgb_can_be_sent(pixels: Pixels) -> None:
    with pytest.raises(CodecError) as caught:
        check_pixels(pixels)
    assert caught.value.code == "bad_pixels"


@pytest.mark.parametrize("shape", [(0, 8, 3), (2001, 2000, 3)])
def test_empty_and_enormous_frames_cannot_be_sent(shape: tuple[int, ...]) -> None:
    with pytest.raises(CodecError) as caught:
        check_pixels(np.zeros(shape, np.uint8))
    assert caught.value.code == "frame_too_large"
