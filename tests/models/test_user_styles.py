"""Styles of a user's own: their files, the folder, and a model that serves meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamgen.backends.eager import EagerBackend
from streamgen.config import ModelSpec, ServerConfig, data_folder, from_environment
from streamgen.engine.engine import Engine
from streamgen.engine.select import BackendReport
from streamgen.errors import ConfigError, WeightsError
from streamgen.frames import Frame, Pixels
from streamgen.models.tiny import TinyModel
from streamgen.models.tiny_unet import STYLE_WIDTH, TinyUNet
from streamgen.models.user_styles import (
    UserStyle,
    check_name,
    core_identity,
    files_of,
    load_style,
    save_style,
    write_style,
)
from streamgen.settings import FrameFormat, StreamSettings

BUILT_IN = ["pencil", "neon"]
CORE = "c0ffee"


def style(name: str = "my aunt", prompt: str = "", core: str = CORE, level: float = 0.5) -> UserStyle:
    return UserStyle(name, prompt, core, torch.full((STYLE_WIDTH,), level))


@pytest.fixture(scope="module")
def network() -> TinyUNet:
    torch.manual_seed(0)
    return TinyUNet(len(BUILT_IN)).eval().requires_grad_(False)


@pytest.fixture
def model(network: TinyUNet, tmp_path: Path) -> TinyModel:
    return TinyModel(ModelSpec(width=128, height=128, styles=tmp_path), network, BUILT_IN)


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("my-style", "my-style"),
        ("  My   Aunt ", "my aunt"),
        ("Été 24", "été 24"),
        ("水彩", "水彩"),
        ("a" * 40, "a" * 40),
    ],
)
def test_a_name_is_stored_in_lower_case_without_needless_spaces(written: str, stored: str) -> None:
    assert check_name(written, BUILT_IN) == stored


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "a" * 41,
        "../up",
        "a/b",
        "a\\b",
        ".hidden",
        "-o",
        "a:b",
        "a,b",
        "con",
        "a\0b",
        "*",
        "(a:1.2)",
        "\u037a",
    ],
)
def test_a_name_that_no_file_or_prompt_could_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_name(name, BUILT_IN)
    assert (caught.value.code, caught.value.field) == ("invalid_name", "name")


def test_a_name_that_a_built_in_style_has_is_taken() -> None:
    with pytest.raises(ConfigError, match="built-in style named 'pencil'") as caught:
        check_name("Pencil", BUILT_IN)
    assert (caught.value.code, caught.value.field) == ("name_taken", "name")


@pytest.mark.parametrize("written", ["van-gogh", "Van_Gogh", "van  gogh", "ván gogh"])
def test_a_name_that_a_prompt_reads_as_a_built_in_style_is_taken(written: str) -> None:
    with pytest.raises(ConfigError, match="built-in style named 'van gogh'") as caught:
        check_name(written, ["van gogh"])
    assert caught.value.code == "name_taken"


# --------------------------------------------------------------------------------------------------------------- files


def test_a_style_survives_its_file_and_is_small(tmp_path: Path) -> None:
    path = save_style(style(prompt="soft washes"), tmp_path / "new" / "styles")
    assert path.name == "my aunt.safetensors"
    assert path.stat().st_size < 10_000
    read = load_style(path)
    assert (read.name, read.prompt, read.core) == ("my aunt", "soft washes", CORE)
    assert torch.equal(read.vector, style().vector)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def huge(path: Path) -> None:
    path.write_bytes(b"0" * 400_000)


def of_another_format(path: Path) -> None:
    save_file({"style": torch.zeros(STYLE_WIDTH)}, path, {"format": "streamgen.tiny", "version": "1"})


def without_a_name(path: Path) -> None:
    save_file({"style": torch.zeros(STYLE_WIDTH)}, path, {"format": "streamgen.style", "version": "1"})


def of_another_width(path: Path) -> None:
    save_style(replace(style(), vector=torch.zeros(7)), path.parent)


def not_finite(path: Path) -> None:
    save_style(style(level=float("nan")), path.parent)


def out_of_range(path: Path) -> None:
    save_style(style(level=-101.0), path.parent)


def talkative(path: Path) -> None:
    save_style(style(prompt="a" * 501), path.parent)


def of_no_core(path: Path) -> None:
    save_style(style(core="two\nlines"), path.parent)


def complex_numbers(path: Path) -> None:
    write_tensor(path, torch.zeros(STYLE_WIDTH, dtype=torch.complex64))


def whole_numbers(path: Path) -> None:
    write_tensor(path, torch.zeros(STYLE_WIDTH, dtype=torch.int8))


def write_tensor(path: Path, tensor: torch.Tensor) -> None:
    metadata = {"format": "streamgen.style", "version": "1", "name": "my aunt", "prompt": "", "core": CORE}
    save_file({"style": tensor}, path, metadata)


@pytest.mark.parametrize(
    "spoil",
    [
        truncated,
        empty,
        huge,
        of_another_format,
        without_a_name,
        of_another_width,
        not_finite,
        out_of_range,
        talkative,
        of_no_core,
        complex_numbers,
        whole_numbers,
    ],
)
def test_a_file_that_is_no_style_is_refused(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = save_style(style(), tmp_path)
    spoil(path)
    with pytest.raises(WeightsError) as caught:
        load_style(path)
    assert caught.value.code == "style_corrupt"
    assert "\n" not in caught.value.message


def test_a_style_is_found_by_the_name_in_its_file(tmp_path: Path) -> None:
    write_style(style("my aunt"), tmp_path / "zz.safetensors")
    write_style(style("other"), tmp_path / "my aunt.safetensors")
    (tmp_path / "my-aunt.safetensors").write_bytes(b"broken")
    (tmp_path / "my_aunt.safetensors").mkdir()
    found = files_of(tmp_path, "My-Aunt")
    assert [path.name for path in found] == ["my-aunt.safetensors", "zz.safetensors"]
    assert [held and held.name for held in found.values()] == [None, "my aunt"]
    assert files_of(tmp_path / "nowhere", "my aunt") == {}


def test_a_core_is_known_by_its_weights_and_not_by_its_styles(network: TinyUNet) -> None:
    more = TinyUNet(5)
    more.load_state_dict({**network.state_dict(), "styles": more.styles})
    assert core_identity(more) == core_identity(network)
    assert core_identity(TinyUNet(2)) != core_identity(network)


# --------------------------------------------------------------------------------------------------------------- model


def test_a_users_style_is_listed_and_means_its_vector(model: TinyModel, network: TinyUNet, tmp_path: Path) -> None:
    save_style(style("my aunt", core=core_identity(network)), tmp_path)
    assert model.styles == ("pencil", "neon")
    assert model.refresh()
    assert model.styles == ("pencil", "neon", "my aunt")
    assert model.read_prompt("My Aunt").styles == {"my aunt": 1.0}
    torch.testing.assert_close(model.encode_prompt("my aunt", {})["style"], style().vector)
    half = model.encode_prompt("half my aunt, half neon", {})["style"]
    torch.testing.assert_close(half, 0.5 * style().vector + 0.5 * network.styles[1])


def test_the_words_that_a_style_was_given_ask_for_it(model: TinyModel, network: TinyUNet, tmp_path: Path) -> None:
    save_style(style("my aunt", "thick violet gouache on cork", core_identity(network)), tmp_path)
    model.refresh()
    assert model.read_prompt("thick violet gouache on cork").styles["my aunt"] > 0.9


def test_a_style_wins_over_what_its_name_meant_before(model: TinyModel, network: TinyUNet, tmp_path: Path) -> None:
    assert model.read_prompt("manga").styles != {"manga": 1.0}
    save_style(style("manga", core=core_identity(network)), tmp_path)
    model.refresh()
    assert model.read_prompt("manga").styles == {"manga": 1.0}


def test_without_a_folder_there_is_nothing_to_look_for(network: TinyUNet) -> None:
    assert not TinyModel(ModelSpec(), network, BUILT_IN).refresh()


SMALL = FrameFormat(width=128, height=128)


def test_a_style_that_is_put_into_the_folder_is_used_at_once_with_nothing_compiled_anew(
    model: TinyModel, network: TinyUNet, tmp_path: Path, picture: Pixels
) -> None:
    report = BackendReport("eager", "float32", "asked for")
    engine = Engine(model, EagerBackend("cpu", "float32", 1), report, 1, wait_for_compilation=True)
    named = engine.open("named", SMALL, StreamSettings(prompt="my aunt", transition_ms=0), rev=2)
    engine.open("other", SMALL, StreamSettings(prompt="pencil", transition_ms=0))
    assert named is not None and "my aunt" not in named.styles

    def shown(session: str) -> Pixels:
        [(_, output)] = engine.step([(session, Frame(picture))], 1.0)
        return output.pixels

    before, pencil, compilations = shown("named"), shown("other"), engine.compilations
    assert engine.refresh(0.5) == []
    torch.manual_seed(3)
    other = UserStyle("my aunt", "", core_identity(network), torch.randn(STYLE_WIDTH))
    save_style(other, tmp_path)
    readings = {session: (rev, reading.styles) for session, rev, reading in engine.refresh(0.5) if reading}
    assert readings == {"named": (2, {"my aunt": 1.0}), "other": (0, {"pencil": 1.0})}
    assert engine.model.styles == ("pencil", "neon", "my aunt")
    assert engine.compilations == compilations
    assert np.abs(shown("named").astype(int) - before).mean() > 1
    np.testing.assert_array_equal(shown("other"), pencil)
    engine.close_all()


# --------------------------------------------------------------------------------------------------------- data folder


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"STREAMGEN_DATA": "/d", "XDG_DATA_HOME": "/x"}, "linux", Path("/d")),
        ({"XDG_DATA_HOME": "/x"}, "linux", Path("/x/streamgen")),
        ({"XDG_DATA_HOME": "x"}, "linux", Path.home() / ".local/share/streamgen"),
        ({"STREAMGEN_DATA": ""}, "linux", Path.home() / ".local/share/streamgen"),
        ({}, "darwin", Path.home() / "Library/Application Support/streamgen"),
        ({"LOCALAPPDATA": "/local"}, "win32", Path("/local/streamgen")),
        ({}, "win32", Path.home() / "AppData/Local/streamgen"),
    ],
)
def test_what_users_make_is_kept_where_the_platform_has_it(
    environ: dict[str, str], platform: str, folder: Path
) -> None:
    assert data_folder(environ, platform) == folder


def test_every_model_that_is_served_knows_the_folder_of_styles() -> None:
    config = from_environment({"STREAMGEN_DATA": "/d", "STREAMGEN_ALSO_MODELS": "other"})
    assert {spec.styles for spec in config.specs.values()} == {Path("/d/styles")}
    assert ServerConfig().spec.styles is None
