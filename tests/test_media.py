"""Files in, files out: frame times, sound, orientation, colours, and what bad files get."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from streamgen.errors import MediaError
from streamgen.frames import Pixels
from streamgen.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaSource, Picture, open_sink

RATE = Fraction(30_000, 1001)


def corner_picture(width: int = 96, height: int = 64) -> Pixels:
    """Dark grey with a red top left corner."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[: height // 4, : width // 4] = (220, 30, 30)
    return pixels


def make_video(
    path: Path,
    times: list[int] | None = None,
    audio: str | None = "aac",
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
) -> Path:
    """A clip whose frame ``i`` is shown at ``times[i]`` / RATE seconds, with a tone beside it."""
    times = list(range(12)) if times is None else times
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, RATE, options={"bf": "0"} if codec == "libx264" else {})
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = 1 / RATE
        sound = container.add_stream(audio, 48_000) if audio else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(corner_picture(*size), "rgb24")
            frame.pts, frame.time_base = time, 1 / RATE
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            samples = 48_000 * (times[-1] + 1) * RATE.denominator // RATE.numerator
            tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(samples) / 48_000)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]).astype(np.int16), "s16p", "stereo")
            frame.sample_rate, frame.pts = 48_000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def rotate_in_header(path: Path, matrix: tuple[int, ...]) -> None:
    """Write a display matrix into the track header of an MP4 file, as a phone held upright does."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def copy_through(source_path: Path, output: Path, width: int = 96, height: int = 64) -> Path:
    with MediaSource(source_path) as source, open_sink(output, source, width, height) as sink:
        for item in source.items():
            if isinstance(item, Picture):
                sink.write_picture(replace(item, pixels=np.ascontiguousarray(item.pixels[:height, :width])))
            else:
                sink.write_audio(item)
        sink.commit()
    return output


def frame_times(path: Path) -> list[float]:
    with MediaSource(path) as source:
        return [item.time_s for item in source.items() if isinstance(item, Picture)]


def sound(path: Path) -> tuple[str, bytes]:
    """The codec of the first sound track and all its packets' bytes."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return stream.codec_context.name, b"".join(bytes(packet) for packet in container.demux(stream))


def test_a_video_is_read_with_its_size_rate_and_frame_count(tmp_path: Path) -> None:
    with MediaSource(make_video(tmp_path / "in.mp4")) as source:
        assert (source.kind, source.width, source.height) == ("video", 96, 64)
        assert source.frame_rate == RATE
        assert source.frames == 12
        pictures = [item for item in source.items() if isinstance(item, Picture)]
    assert len(pictures) == 12
    assert pictures[0].pixels.shape == (64, 96, 3)


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_every_container_keeps_the_frame_times(tmp_path: Path, suffix: str) -> None:
    irregular = [0, 1, 2, 5, 6, 9, 10, 20]
    original = make_video(tmp_path / "in.mp4", irregular)
    made = copy_through(original, tmp_path / f"out{suffix}")
    # Matroska cannot start before 0, so there the lead-in of the sound shifts everything alike.
    times, expected = frame_times(made), frame_times(original)
    assert times[0] == pytest.approx(expected[0], abs=0.022 if suffix == ".mkv" else 0.0011)
    assert np.diff(times) == pytest.approx(np.diff(expected), abs=0.0011)


def test_the_average_frame_rate_is_kept(tmp_path: Path) -> None:
    made = copy_through(make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    with MediaSource(made) as source:
        assert source.frame_rate == RATE


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_sound_is_copied_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    original = make_video(tmp_path / "in.mp4")
    assert sound(copy_through(original, tmp_path / f"out{suffix}")) == sound(original)


def test_sound_that_the_container_cannot_hold_is_encoded_again(tmp_path: Path) -> None:
    made = copy_through(make_video(tmp_path / "in.mp4"), tmp_path / "out.webm")
    codec, data = sound(made)
    assert codec == "opus"
    assert len(data) > 500


def test_a_silent_video_stays_silent(tmp_path: Path) -> None:
    made = copy_through(make_video(tmp_path / "in.mp4", audio=None), tmp_path / "out.mp4")
    with av.open(str(made)) as container:
        assert not container.streams.audio


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((0, 65536, 0, -65536, 0, 0, 64 << 16, 0, 1 << 30), "top right"),
        ((-65536, 0, 0, 0, -65536, 0, 96 << 16, 64 << 16, 1 << 30), "bottom right"),
        ((0, -65536, 0, 65536, 0, 0, 0, 96 << 16, 1 << 30), "bottom left"),
    ],
)
def test_a_clip_filmed_sideways_is_turned_upright(tmp_path: Path, matrix: tuple[int, ...], corner: str) -> None:
    path = make_video(tmp_path / "in.mp4", audio=None)
    rotate_in_header(path, matrix)
    with MediaSource(path) as source:
        picture = next(item for item in source.items() if isinstance(item, Picture))
        assert (source.width, source.height) == picture.pixels.shape[1::-1]
    assert reddest_corner(picture.pixels) == corner


def test_a_photo_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(corner_picture())
    exif = image.getexif()
    exif[0x0112] = 6  # turn a quarter to the right to see it upright
    image.save(tmp_path / "in.jpg", exif=exif, quality=95)
    with MediaSource(tmp_path / "in.jpg") as source:
        picture = next(item for item in source.items() if isinstance(item, Picture))
    assert picture.pixels.shape == (96, 64, 3)
    assert reddest_corner(picture.pixels) == "top right"


def reddest_corner(pixels: Pixels) -> str:
    red = pixels[..., 0].astype(int) - pixels[..., 1]
    corners = {"top left": red[:8, :8], "top right": red[:8, -8:]}
    corners |= {"bottom left": red[-8:, :8], "bottom right": red[-8:, -8:]}
    return max(corners, key=lambda name: corners[name].mean())


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_picture_format_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(corner_picture()).save(tmp_path / "in.png")
    made = copy_through(tmp_path / "in.png", tmp_path / f"out{suffix}")
    pixels = np.asarray(Image.open(made).convert("RGB")).astype(int)
    assert np.abs(pixels - corner_picture()).mean() < 3


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "bmp", "avif", "tiff"])
def test_pictures_of_every_format_are_read_whatever_their_name(tmp_path: Path, format: str) -> None:
    Image.fromarray(corner_picture()).save(tmp_path / "picture", format)
    with MediaSource(tmp_path / "picture") as source:
        assert (source.kind, source.frames, source.width, source.height) == ("image", 1, 96, 64)


def test_colours_survive_a_video(tmp_path: Path) -> None:
    Image.fromarray(corner_picture()).save(tmp_path / "in.png")
    made = copy_through(copy_through(make_video(tmp_path / "in.mp4"), tmp_path / "a.mp4"), tmp_path / "b.mp4")
    with MediaSource(made) as source:
        pixels = next(item for item in source.items() if isinstance(item, Picture)).pixels.astype(int)
    assert np.abs(pixels[:12, :20] - (220, 30, 30)).mean() < 8
    assert np.abs(pixels[30:, 40:] - 40).mean() < 4


@pytest.mark.parametrize("content", [b"", b"this is no video", bytes(range(256)) * 20], ids=["empty", "text", "noise"])
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="no video or picture") as caught:
        MediaSource(path)
    assert caught.value.code == "not_media"


def test_a_sound_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", 8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "stereo")
        frame.sample_rate = 8000
        container.mux(track.encode(frame))
    with pytest.raises(MediaError, match="holds no video and no picture"):
        MediaSource(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file or directory") as caught:
        MediaSource(tmp_path / "none.mp4")
    assert caught.value.code == "cannot_read"
    with pytest.raises(MediaError, match="is a directory"):
        MediaSource(tmp_path)


def test_a_truncated_video_gives_the_frames_it_has(tmp_path: Path) -> None:
    data = make_video(tmp_path / "in.mkv", list(range(60))).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    with MediaSource(tmp_path / "cut.mkv") as source:
        assert any(isinstance(item, Picture) for item in source.items())


def test_a_name_is_never_read_as_a_pattern_or_a_protocol(tmp_path: Path) -> None:
    image = io.BytesIO()
    Image.fromarray(corner_picture()).save(image, "PNG")
    (tmp_path / "x%03d.png").write_bytes(image.getvalue())
    with MediaSource(tmp_path / "x%03d.png") as source:
        assert source.kind == "image"
    with pytest.raises(MediaError, match="no such file"):
        MediaSource(Path(f"concat:{tmp_path}/x%03d.png"))


@pytest.mark.parametrize("name", ["out.txt", "out", "out.png"])
def test_an_output_that_does_not_fit_the_input_is_refused(tmp_path: Path, name: str) -> None:
    with MediaSource(make_video(tmp_path / "in.mp4")) as source, pytest.raises(MediaError, match="is a video"):
        open_sink(tmp_path / name, source, 96, 64)


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4")
    with MediaSource(path) as source, pytest.raises(MediaError, match="same file"):
        open_sink(path, source, 96, 64)


@pytest.mark.parametrize("name", ["none/out.mp4", "folder.mp4"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with MediaSource(make_video(tmp_path / "in.mp4")) as source, pytest.raises(MediaError) as caught:
        open_sink(tmp_path / name, source, 96, 64)
    assert caught.value.code == "cannot_write"


def test_an_abandoned_output_leaves_no_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    old = tmp_path / "out.mp4"
    old.write_bytes(b"old")
    original = make_video(tmp_path / "in.mp4")

    def fail_half_way() -> None:
        with MediaSource(original) as source, open_sink(old, source, 96, 64) as sink:
            sink.write_picture(next(item for item in source.items() if isinstance(item, Picture)))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail_half_way()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    assert old.read_bytes() == b"old"
