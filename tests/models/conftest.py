"""Tiny pipelines, each built once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models import pipelines

__all__: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """diffusers' Euler schedulers call numpy in a way that numpy 2 deprecates; it is not ours to mend."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))


def _folder_of(build: Callable[[Path], Path]) -> Callable[[pytest.TempPathFactory], Path]:
    @pytest.fixture(scope="session")
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return build(tmp_path_factory.mktemp("pipelines") / build.__name__)

    return folder


sd_turbo_folder = _folder_of(pipelines.sd_turbo)
sd_lcm_folder = _folder_of(pipelines.sd_lcm)
sd_v_folder = _folder_of(pipelines.sd_v_prediction)
sdxl_turbo_folder = _folder_of(pipelines.sdxl_turbo)
sana_folder = _folder_of(pipelines.sana_sprint)
taesd_folder = _folder_of(pipelines.taesd)
