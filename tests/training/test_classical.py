import numpy as np
import pytest

from streamgen.training.core.classical import (
    charcoal,
    comic,
    engraving,
    ink_wash,
    neon,
    oil,
    pencil,
    poster,
    watercolor,
)
from streamgen.training.core.printed import blueprint, halftone, low_poly, mosaic, pixel_art, risograph
from streamgen.training.core.recipe import STYLES
from streamgen.training.core.teachers import CLASSICAL


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


def test_the_recipe_names_a_function_for_every_classical_style() -> None:
    assert {style.key for style in STYLES if style.teacher == "classical"} == set(CLASSICAL)


@pytest.mark.parametrize("name", ["halftone", "pixel_art", "low_poly", "mosaic", "blueprint", "risograph"])
def test_a_window_on_the_grid_of_sixteen_shows_the_same_print(name: str) -> None:
    flat = np.full((96, 96, 3), (200, 90, 60), np.uint8)
    whole = CLASSICAL[name](flat)
    assert np.array_equal(whole[32:80, 32:80], whole[16:64, 16:64])


@pytest.mark.parametrize("drawing", [charcoal, ink_wash, engraving], ids=lambda style: style.__name__)
def test_drawings_in_one_black_have_hardly_any_colour(drawing) -> None:
    assert saturation(drawing(scene())) < 32


def test_an_engraving_has_more_ink_where_it_is_darker() -> None:
    slope = np.linspace(40, 230, 96).astype(np.uint8)[None, :, None].repeat(96, 0).repeat(3, 2)
    made = engraving(slope).mean((0, 2))
    assert made[8:32].mean() < made[-32:-8].mean() - 40


def test_oil_calms_noise_and_keeps_edges() -> None:
    photo, painted = scene(), oil(scene())
    rough, calm = (np.abs(np.diff(picture[:20, :20].astype(int), axis=1)).mean() for picture in (photo, painted))
    assert calm < 0.7 * rough
    assert painted[48, 48, 0] > painted[8, 8, 0] + 60


def test_pixel_art_is_squares_of_one_colour() -> None:
    cells = pixel_art(scene()).reshape(12, 8, 12, 8, 3)
    assert (cells.max((1, 3)) == cells.min((1, 3))).all()


def test_a_mosaic_has_dark_mortar_around_its_tiles() -> None:
    made = mosaic(np.full((64, 64, 3), 200, np.uint8))
    assert made[0].max() < 110
    assert made[3, 3].min() > 150


def test_low_poly_cuts_a_square_along_its_edge() -> None:
    rows, columns = np.mgrid[:16, :16]
    corner = np.where((rows >= columns)[..., None], 220, 30).astype(np.uint8).repeat(3, -1)
    assert len(np.unique(low_poly(corner).reshape(-1, 3), axis=0)) == 2


def test_a_halftone_of_dark_has_larger_dots_than_one_of_light() -> None:
    dark, light = (halftone(np.full((64, 64, 3), level, np.uint8)).mean() for level in (60, 200))
    assert dark < light - 60


def test_a_blueprint_is_blue_paper_with_white_lines() -> None:
    made = blueprint(scene())
    assert made[..., 2].mean() > made[..., 0].mean() + 60
    assert made.min(-1).max() > 180


def test_a_risograph_prints_two_inks_on_paper() -> None:
    made = risograph(scene())
    assert saturation(made) > 40
