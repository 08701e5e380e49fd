from __future__ import annotations

import pytest

from streamgen.engine.limits import check_settings, fit_settings
from streamgen.errors import SettingsError
from streamgen.settings import StreamSettings

ASKED = StreamSettings(steps=4, loras={"soft": 0.5, "sharp": 1.0}, seed=9)


def test_what_a_model_can_do_is_let_through_as_it_is() -> None:
    check_settings(ASKED, 4, ("soft", "sharp"))
    assert fit_settings(ASKED, 4, ("soft", "sharp")) is ASKED


@pytest.mark.parametrize(
    ("max_steps", "loras", "field"), [(3, ("soft", "sharp"), "steps"), (4, ("soft",), "loras"), (4, (), "loras")]
)
def test_what_it_cannot_do_is_named(max_steps: int, loras: tuple[str, ...], field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings(ASKED, max_steps, loras)
    assert (caught.value.code, caught.value.field) == ("invalid_settings", field)


def test_fitted_settings_are_the_nearest_that_it_can_do() -> None:
    fitted = fit_settings(ASKED, 2, ("soft",))
    assert fitted == StreamSettings(steps=2, loras={"soft": 0.5}, seed=9)
    check_settings(fitted, 2, ("soft",))
