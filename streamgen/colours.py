"""RGB as video encoders take it, and what players have to be told of it."""

from __future__ import annotations

from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from streamgen.frames import Pixels

__all__ = ["tag_bt709", "to_yuv"]


def to_yuv(pixels: Pixels) -> VideoFrame:
    """What video encoders take: uint8 [H, W, 3] RGB as yuv420p, in the colours that ``tag_bt709`` names."""
    frame = VideoFrame.from_ndarray(pixels, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)


def tag_bt709(stream: VideoStream) -> None:
    """Say which colours the samples stand for, so that players need not guess from the size."""
    context = stream.codec_context
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    context.color_range = ColorRange.MPEG
