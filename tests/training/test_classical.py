import numpy as np
import pytest

from streamgen.training.core.classical import CLASSICAL, comic, neon, pencil, poster, watercolor


def scene(seed: int = 0, size: int = 96) -> np.ndarray:
    """A red disc on a blue to grey slope, with a little sensor noise: uint8 [96, 96, 3]."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size
    picture = np.stack([0.3 + 0.3 * columns, 0.4 + 0.2 * rows, 0.8 - 0.3 * columns], axis=-1)
    picture[(rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.06] = (0.85, 0.15, 0.1)
    noise = np.random.default_rng(seed).normal(0, 0.01, picture.shape)
    return (np.clip(picture + noise, 0, 1) * 255).astype(np.uint8)


def saturation(picture: np.ndarray) -> float:
    return float((picture.max(-1).astype(int) - picture.min(-1)).mean())


@pytest.mark.parametrize("style", CLASSICAL.values(), ids=CLASSICAL)
def test_every_teacher_keeps_shape_and_type_and_repeats_itself(style) -> None:
    photo = scene()
    first = style(photo)
    assert (first.shape, first.dtype) == (photo.shape, np.uint8)
    assert np.array_equal(first, style(photo))


@pytest.mark.parametrize("style", CLASSICAL.values(), ids=CLASSICAL)
@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.filterwarnings("error")
def test_every_teacher_takes_black_and_white_frames(style, level: int) -> None:
    assert style(np.full((64, 64, 3), level, np.uint8)).shape == (64, 64, 3)


def test_pencil_is_dark_lines_on_light_paper_without_colour() -> None:
    drawing = pencil(scene())
    assert drawing.mean() > 180
    assert drawing.min() < 150
    assert saturation(drawing) < 15


def test_comic_is_more_saturated_than_the_photo_and_inks_the_outline() -> None:
    photo = scene()
    drawing = comic(photo)
    assert saturation(drawing) > saturation(photo)
    assert drawing.min(axis=(0, 1)).max() < 40


def test_neon_is_dark_with_bright_edges() -> None:
    picture = neon(scene())
    assert np.median(picture) < 60
    assert picture.max() > 200


def test_watercolor_is_lighter_than_the_photo() -> None:
    assert watercolor(scene()).mean() > scene().mean() + 20


def test_poster_prints_few_inks() -> None:
    picture = poster(scene())
    inks, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    assert np.sort(counts)[-4:].sum() > 0.5 * counts.sum()
    assert len(inks) > 1
