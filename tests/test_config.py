from __future__ import annotations

from pathlib import Path

import pytest

from streamgen.config import data_folder, from_environment
from streamgen.errors import ConfigError


def test_a_user_without_a_home_is_told_how_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="STREAMGEN_DATA") as caught:
        from_environment({})
    assert caught.value.code == "no_home"
    assert data_folder({"STREAMGEN_DATA": "/d"}) == Path("/d")
