"""The folder of a user's own styles: what is taken from it, what is left out, and that nothing in it does harm."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from streamgen.config import ModelSpec
from streamgen.errors import ConfigError
from streamgen.models import user_styles
from streamgen.models.tiny import TinyModel
from streamgen.models.tiny_unet import STYLE_WIDTH, TinyUNet
from streamgen.models.user_styles import (
    STYLES_MAX,
    StyleFolder,
    UserStyle,
    core_identity,
    files_of,
    save_style,
    write_style,
)

BUILT_IN = ["pencil", "neon"]
CORE = "c0ffee"


def style(name: str = "my aunt", core: str = CORE, level: float = 0.5) -> UserStyle:
    return UserStyle(name, "", core, torch.full((STYLE_WIDTH,), level))


def link_to_itself(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def test_a_folder_is_read_again_only_when_something_changed(tmp_path: Path) -> None:
    folder = StyleFolder(tmp_path, CORE, BUILT_IN)
    assert folder.styles == ()
    assert not folder.refresh()
    path = save_style(style(), tmp_path)
    assert folder.refresh()
    assert [one.name for one in folder.styles] == ["my aunt"]
    assert not folder.refresh()
    save_style(style(level=0.25), tmp_path)
    os.utime(path, ns=(1, 1))
    assert folder.refresh()
    assert float(folder.styles[0].vector[0]) == 0.25
    path.unlink()
    assert folder.refresh()
    assert folder.styles == ()


def test_a_folder_that_is_not_there_yet_has_no_styles(tmp_path: Path) -> None:
    folder = StyleFolder(tmp_path / "later", CORE, BUILT_IN)
    assert not folder.refresh()
    save_style(style(), tmp_path / "later")
    assert folder.refresh()


def test_what_cannot_be_used_is_left_out_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_style(style("good"), tmp_path)
    save_style(style("old", core="another"), tmp_path)
    save_style(style("pencil"), tmp_path)
    save_style(style("good"), tmp_path).rename(tmp_path / "zz.safetensors")
    save_style(style("good"), tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    (tmp_path / "notes.txt").write_text("not looked at")
    with caplog.at_level(logging.WARNING):
        folder = StyleFolder(tmp_path, CORE, BUILT_IN)
    assert [one.name for one in folder.styles] == ["good"]
    codes = {file: error.code for file, error in folder.left_out.items()}
    assert codes == {
        "broken.safetensors": "style_corrupt",
        "old.safetensors": "style_of_another_core",
        "pencil.safetensors": "name_taken",
        "zz.safetensors": "name_taken",
    }
    assert len(caplog.records) == 4
    assert "the style old is left out: it was trained for the model another, and this is c0ffee" in caplog.text
    caplog.clear()
    save_style(style("better"), tmp_path)
    assert folder.refresh()
    assert not caplog.records


def test_a_link_to_itself_is_left_out_and_the_other_styles_are_used(tmp_path: Path) -> None:
    save_style(style("good"), tmp_path)
    link_to_itself(tmp_path / "loop.safetensors")
    (tmp_path / "nowhere.safetensors").symlink_to("gone")
    folder = StyleFolder(tmp_path, CORE, BUILT_IN)
    assert [one.name for one in folder.styles] == ["good"]
    codes = {file: error.code for file, error in folder.left_out.items()}
    assert codes == {"loop.safetensors": "style_unreadable", "nowhere.safetensors": "style_missing"}
    assert not folder.refresh()


class Unreadable:
    """An entry of a folder, and a path, that the system tells nothing about."""

    def __init__(self, name: str) -> None:
        self.name = name

    def stat(self) -> os.stat_result:
        raise PermissionError(13, "Permission denied")


def test_a_file_without_permission_does_not_end_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_style(style("good"), tmp_path)
    scandir = os.scandir

    @contextmanager
    def with_one_that_is_locked(folder: Path) -> Iterator[list[object]]:
        with scandir(folder) as entries:
            yield [Unreadable("locked.safetensors"), *entries]

    stat = Path.stat

    def locked_stat(path: Path, **more: bool) -> os.stat_result:
        return Unreadable(path.name).stat() if path.stem == "locked" else stat(path, **more)

    monkeypatch.setattr(os, "scandir", with_one_that_is_locked)
    monkeypatch.setattr(Path, "stat", locked_stat)
    folder = StyleFolder(tmp_path, CORE, BUILT_IN)
    assert [one.name for one in folder.styles] == ["good"]
    assert folder.left_out["locked.safetensors"].message == "locked.safetensors cannot be read: Permission denied"


def test_a_folder_that_cannot_be_listed_has_no_styles_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = TinyUNet(len(BUILT_IN)).eval()
    loop = link_to_itself(tmp_path / "styles")
    model = TinyModel(ModelSpec(width=128, height=128, styles=loop), network, BUILT_IN)
    assert model.styles == ("pencil", "neon")
    assert not model.refresh()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "no styles of the user's own, their folder cannot be listed"
    ]
    loop.unlink()
    save_style(style("my aunt", core=core_identity(network)), loop)
    assert model.refresh()
    assert model.styles == ("pencil", "neon", "my aunt")


def test_names_that_a_prompt_cannot_tell_apart_are_one_name(tmp_path: Path) -> None:
    save_style(style("my aunt"), tmp_path)
    save_style(style("my-aunt"), tmp_path)
    save_style(style("van-gogh"), tmp_path)
    write_style(style("\u037a"), tmp_path / "nameless.safetensors")
    folder = StyleFolder(tmp_path, CORE, ["van gogh"])
    assert [one.name for one in folder.styles] == ["my aunt"]
    codes = {file: error.code for file, error in folder.left_out.items()}
    assert codes == {
        "my-aunt.safetensors": "name_taken",
        "nameless.safetensors": "invalid_name",
        "van-gogh.safetensors": "name_taken",
    }


def test_so_many_styles_are_taken_and_the_rest_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert STYLES_MAX == 100
    monkeypatch.setattr(user_styles, "STYLES_MAX", 2)
    for name in ("a", "b", "c", "d"):
        save_style(style(name), tmp_path)
    folder = StyleFolder(tmp_path, CORE, BUILT_IN)
    assert [one.name for one in folder.styles] == ["a", "b"]
    assert {file: error.code for file, error in folder.left_out.items()} == {
        "c.safetensors": "too_many_styles",
        "d.safetensors": "too_many_styles",
    }
    assert [record.message for record in caplog.records] == [
        "2 files of styles are left out: 2 styles are taken, and no more"
    ]
    (tmp_path / "a.safetensors").unlink()
    assert folder.refresh()
    assert [one.name for one in folder.styles] == ["b", "c"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        files_of(link_to_itself(tmp_path / "styles"), "my aunt")
    assert caught.value.code == "styles_unreadable"
