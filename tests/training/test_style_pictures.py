"""Pictures that a style is made from and learned on: how they are read, and what is refused before it is decoded."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streamgen.errors import ConfigError, MediaError
from streamgen.frames import Pixels
from streamgen.training import data
from streamgen.training.painting import looked_at
from streamgen.training.style import painting_file, sources
from streamgen.training.style.painting_file import height_for, read_painting
from streamgen.training.style.sources import Folder

SIZE = 64


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SIZE", SIZE)
    monkeypatch.setattr(sources, "SIZE", SIZE)
    monkeypatch.setattr(painting_file, "PAINTING_HEIGHT", 96)


def stripes(height: int = 160, width: int = 200) -> Pixels:
    """Yellow and blue diagonals, uint8 [H, W, 3]."""
    rows, columns = np.mgrid[:height, :width]
    return np.where(((rows + columns) // 6 % 2 == 0)[..., None], (240, 200, 40), (20, 40, 120)).astype(np.uint8)


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    path = tmp_path / "stripes.png"
    Image.fromarray(stripes()).save(path)
    return path


# ------------------------------------------------------------------------------------------------------------ painting


def refused(path: Path) -> tuple[str, str | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MediaError) as caught:
            read_painting(path)
    assert "\n" not in caught.value.message
    return caught.value.code, caught.value.field


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.jpg") == ("picture_missing", "painting")
    assert refused(tmp_path) == ("picture_missing", "painting")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 500 500\n", b"<svg/>", b"\x89PNG\r\n"],
)
def test_what_is_no_picture_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert refused(path) == ("picture_unreadable", "painting")


def test_a_truncated_picture_is_unreadable(painting: Path) -> None:
    painting.write_bytes(painting.read_bytes()[:-200])
    assert refused(painting) == ("picture_unreadable", "painting")


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ((127, 400), "picture_too_small"),
        ((128, 900), "picture_too_long"),
        ((11_000, 10_000), "picture_too_large"),
        ((20_000, 20_000), "picture_too_large"),  # more than Pillow itself opens
    ],
)
def test_a_picture_of_no_useful_size_is_refused_before_it_is_decoded(
    tmp_path: Path, size: tuple[int, int], code: str
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_that_claims(*size))
    assert refused(path) == (code, "painting")


def png_that_claims(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    parts = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_a_grey_picture_of_16_bits_keeps_its_levels(tmp_path: Path, name: str) -> None:
    levels = np.linspace(0, 65535, 200).astype(np.uint16)
    Image.fromarray(np.tile(levels, (200, 1))).save(tmp_path / name)
    seen = read_painting(tmp_path / name)
    assert (seen == (levels >> 8).astype(np.uint8)[None, :, None]).all()


def test_what_is_transparent_in_16_bits_is_white(tmp_path: Path) -> None:
    levels = np.tile(np.linspace(0, 65535, 200).astype(np.uint16), (200, 1))
    Image.fromarray(levels).save(tmp_path / "x.png", transparency=0)
    seen = read_painting(tmp_path / "x.png")
    assert (seen[:, 0] == 255).all()
    assert (seen[:, 1] == 1).all()


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_a_picture_whose_levels_mean_nothing_known_is_unreadable(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.full((200, 200), 70_000, kind)).save(tmp_path / "x.tif")
    assert refused(tmp_path / "x.tif") == ("picture_unreadable", "painting")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_picture_of_one_colour_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    Image.new(mode, (200, 200)).save(path)
    assert refused(path) == ("picture_flat", "painting")


def test_a_picture_comes_upright_on_white_and_no_larger_than_is_of_use(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    seen = Image.fromarray(stripes(300, 150)).convert("RGBA")
    seen.paste((0, 0, 0, 0), (0, 0, 150, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    seen.save(path, exif=exif)
    picture = read_painting(path)
    assert picture.shape == (150, 300, 3)
    assert (picture[:, -20:] == 255).all()
    Image.fromarray(stripes(300, 2500)).resize((2500, 2100)).save(tmp_path / "large.png")
    assert read_painting(tmp_path / "large.png").shape == (2048, 2438, 3)


def test_strokes_of_tall_and_wide_pictures_come_out_alike() -> None:
    wide, tall = stripes(300, 400), stripes(400, 300)
    assert height_for(wide, 1.0) == 96
    assert height_for(tall, 1.0) == 128
    assert height_for(wide, 2.0) == 192
    assert looked_at(tall, 128).shape == (1, 3, 128, 96)


# -------------------------------------------------------------------------------------------------------------- photos


def test_a_folder_of_pictures_is_searched_through_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    Image.fromarray(stripes()).save(tmp_path / "deep" / "a.JPG")
    Image.fromarray(stripes(40, 40)).save(tmp_path / "icon.png")
    (tmp_path / "broken.png").write_bytes(b"no")
    (tmp_path / "vast.png").write_bytes(png_that_claims(11_000, 10_000))
    (tmp_path / "bomb.png").write_bytes(png_that_claims(20_000, 20_000))
    Image.fromarray(stripes(70, 500)).save(tmp_path / "long.png")
    folder = Folder(tmp_path)
    assert len(folder.shown(4)) == 1
    assert folder.shown(4)[0].shape == (SIZE, SIZE, 3)
    assert folder.draw(np.random.default_rng(0)).dtype == np.uint8
    with pytest.raises(ConfigError) as caught:
        Folder(tmp_path / "nowhere")
    assert caught.value.code == "photos_missing"


def test_a_photo_of_too_many_pixels_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(stripes()).save(tmp_path / "x.png")
    assert len(Folder(tmp_path).shown(4)) == 1
    monkeypatch.setattr(sources, "MOST_PIXELS", 160 * 200 - 1)
    monkeypatch.setattr(Image.Image, "convert", None)
    with pytest.raises(ConfigError) as caught:
        Folder(tmp_path)
    assert caught.value.code == "photos_missing"


def test_a_photo_of_16_bits_keeps_its_levels(tmp_path: Path) -> None:
    Image.fromarray(np.full((100, 100), 0x8000, np.uint16)).save(tmp_path / "x.png")
    [seen] = Folder(tmp_path).shown(1)
    assert (seen == 0x80).all()
