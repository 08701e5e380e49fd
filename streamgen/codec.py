"""Pictures to bytes and back: JPEG, raw RGB, and PNG for snapshots. Every size is checked before anything is decoded.

The functions hold the processor for as long as the picture takes (half a millisecond for a JPEG of 512x512) and release
the interpreter lock, so a server calls them in a thread pool.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import simplejpeg

from streamgen.errors import CodecError
from streamgen.frames import Pixels
from streamgen.wire import MAX_PIXELS, Codec

__all__ = [
    "REFERENCE_SIDES",
    "check_pixels",
    "check_type",
    "decode",
    "decode_reference",
    "encode",
    "encode_png",
    "flatten",
    "pack_alpha",
    "unpack_alpha",
]

REFERENCE_SIDES = (16, 1024)
"""Least and most pixels of a reference picture, either way. An image encoder scales the shorter side to its own 224:
1x1024 pixels would become 224x229,376."""
_START_OF_SCAN = b"\xff\xda"
_MAX_SIDE = 65_500  # of a JPEG, as libjpeg has it
_MAX_SCANS = 16
"""A progressive JPEG can repeat tiny scans that each cost a pass over the whole picture; encoders write about ten."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {3: 2, 4: 6}
_PNG_FILTER_UP = 2


def check_pixels(pixels: Pixels) -> None:
    """Refuse what cannot travel as a frame.

    Raises:
        CodecError: ``bad_pixels`` unless uint8 [H, W, 3]; ``frame_too_large`` above ``MAX_PIXELS``.
    """
    check_type(pixels)
    height, width = pixels.shape[:2]
    if max(height, width) > _MAX_SIDE:
        raise CodecError(
            "frame_too_large", f"a side has at most {_MAX_SIDE} pixels, got {width}x{height}", field="width"
        )
    if not 1 <= height * width <= MAX_PIXELS:
        raise CodecError(
            "frame_too_large", f"a frame has 1 to {MAX_PIXELS} pixels, got {width}x{height}", field="width"
        )


def check_type(pixels: Pixels) -> None:
    """Refuse what is no picture.

    Raises:
        CodecError: ``bad_pixels`` unless uint8 [H, W, 3].
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        seen = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise CodecError("bad_pixels", f"a frame is a uint8 array [height, width, 3], got {seen}", field="pixels")


def decode(codec: Codec, payload: bytes | memoryview, width: int, height: int) -> Pixels:
    """Decode a picture that was declared to be ``width`` x ``height``.

    Returns:
        uint8 [height, width, 3] RGB; greyscale pictures are spread over the three channels.

    Raises:
        CodecError: ``frame_too_large`` or ``size_mismatch`` before anything is decoded; ``undecodable`` for a broken
            picture or a codec that is not accepted from clients.
    """
    if width * height > MAX_PIXELS:
        raise CodecError("frame_too_large", f"a frame has at most {MAX_PIXELS} pixels, got {width}x{height}")
    if codec is Codec.RAW:
        return _decode_raw(payload, width, height)
    if codec is Codec.JPEG:
        return _decode_jpeg(bytes(payload), width, height)
    raise CodecError("undecodable", f"frames are sent as JPEG or raw, got {codec.name}", field="codec")


def decode_reference(image: str) -> Pixels:
    """Decode a reference picture as it comes in a text message: a JPEG in base64 of the standard alphabet, padded.

    Returns:
        uint8 [H, W, 3] RGB with both sides within ``REFERENCE_SIDES``.

    Raises:
        CodecError: ``bad_image``; where the size is at fault, before anything is decoded.
    """
    least, most = REFERENCE_SIDES
    try:
        payload = base64.b64decode(image, validate=True)
        width, height = _jpeg_size(payload)
        if not (least <= width <= most and least <= height <= most):
            raise CodecError("bad_size", f"its sides have {least} to {most} pixels, got {width}x{height}")
        return _decode_jpeg(payload, width, height)
    except CodecError as error:
        raise CodecError("bad_image", f"the reference picture: {error.message}", field="image") from None
    except ValueError as error:
        raise CodecError("bad_image", f"the reference picture is no base64: {error}", field="image") from None


def pack_alpha(pixels: Pixels) -> Pixels:
    """Alpha for codecs that have none: uint8 [H, W, 4] to [H, 2 W, 3], the colour left, its alpha right, as grey."""
    height, width = pixels.shape[:2]
    packed = np.empty((height, 2 * width, 3), np.uint8)
    for channel in range(3):  # seven times as fast as all of them at once
        packed[:, :width, channel] = pixels[..., channel]
        packed[:, width:, channel] = pixels[..., 3]
    return packed


def unpack_alpha(packed: Pixels) -> Pixels:
    """What ``pack_alpha`` packed: uint8 [H, 2 W, 3] to [H, W, 4]."""
    height, width = packed.shape[0], packed.shape[1] // 2
    pixels = np.empty((height, width, 4), np.uint8)
    for channel in range(3):
        pixels[..., channel] = packed[:, :width, channel]
    pixels[..., 3] = packed[:, width:, 1]  # of a grey, green is what a codec changes least
    return pixels


def flatten(pixels: Pixels) -> Pixels:
    """Over black: uint8 [H, W, 4] with straight alpha to [H, W, 3]."""
    alpha = pixels[..., 3].astype(np.uint16)
    flat = np.empty((*alpha.shape, 3), np.uint8)
    for channel in range(3):
        product = alpha * pixels[..., channel] + np.uint16(128)
        flat[..., channel] = (product + (product >> 8)) >> 8  # rounded division by 255
    return flat


def encode(pixels: Pixels, codec: Codec, quality: int = 85) -> bytes:
    """Encode a uint8 [H, W, 3 or 4] picture; alpha is packed, but for PNG, which has its own.

    ``quality`` (1 to 100) is the JPEG's.
    """
    if codec is Codec.PNG:
        return encode_png(pixels)
    if pixels.shape[2] == 4:
        pixels = pack_alpha(pixels)
    if codec is Codec.RAW:
        return pixels.tobytes()
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=True
    )
    return encoded


def encode_png(pixels: Pixels) -> bytes:
    """Encode a uint8 [H, W, 3 or 4] picture losslessly, with the fastest compression that helps."""
    height, width, channels = pixels.shape
    lines = np.empty((height, 1 + width * channels), np.uint8)
    lines[:, 0] = _PNG_FILTER_UP
    rows = pixels.reshape(height, width * channels)
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    body = zlib.compress(lines.data, level=1)
    return _PNG_SIGNATURE + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", body) + _png_chunk(b"IEND", b"")


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _decode_raw(payload: bytes | memoryview, width: int, height: int) -> Pixels:
    if len(payload) != width * height * 3:
        raise CodecError(
            "size_mismatch",
            f"a raw picture of {width}x{height} has {width * height * 3} bytes, got {len(payload)}",
            field="width",
        )
    return np.frombuffer(payload, np.uint8).reshape(height, width, 3)


def _jpeg_size(payload: bytes) -> tuple[int, int]:
    """Width and height that a JPEG declares."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(payload)
    except ValueError as error:
        raise CodecError("undecodable", f"the picture is no JPEG: {error}", field="payload") from None
    return width, height


def _decode_jpeg(payload: bytes, width: int, height: int) -> Pixels:
    real_width, real_height = _jpeg_size(payload)
    if (real_width, real_height) != (width, height):
        raise CodecError(
            "size_mismatch", f"the picture is {real_width}x{real_height}, declared {width}x{height}", field="width"
        )
    if payload.count(_START_OF_SCAN) > _MAX_SCANS:
        raise CodecError("undecodable", f"the JPEG has more than {_MAX_SCANS} scans", field="payload")
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(payload, colorspace="RGB", fastdct=True, fastupsample=True)
    except ValueError as error:
        raise CodecError("undecodable", f"the JPEG is broken: {error}", field="payload") from None
    return pixels
