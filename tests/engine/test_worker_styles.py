"""That the worker takes up styles which came, and outlives a look that fails."""

from __future__ import annotations

from streamgen.engine.messages import Applied, Restyled
from streamgen.settings import Reading
from tests.engine.loop import Script, bench_of


def test_styles_that_came_are_told_with_how_every_prompt_is_read_then() -> None:
    script = Script()

    def refresh(now_s: float) -> list[tuple[str, int, Reading | None]]:
        script.model.styles = ("ink", "mine")
        return [("a", 3, Reading(1.0, {"mine": 1.0}))]

    bench = bench_of(script)
    bench.open("a")
    script.refresh = refresh
    bench.turn(now_s=100.9)
    assert bench.heard() == []
    bench.turn(now_s=101.1)
    assert bench.heard() == [Restyled(("ink", "mine")), Applied("a", 3, Reading(1.0, {"mine": 1.0}))]
    bench.turn(now_s=102.0)
    assert bench.heard() == []
    bench.close()


def test_a_look_at_the_styles_that_fails_ends_nobodys_session_and_is_tried_again_later() -> None:
    script, looks = Script(), []

    def refresh(now_s: float) -> list[tuple[str, int, Reading | None]]:
        looks.append(now_s)
        raise OSError("the disk is gone")

    bench = bench_of(script)
    bench.open("a")
    script.refresh = refresh  # type: ignore[method-assign]
    bench.send("a", 9)
    assert bench.turn(now_s=101.0) == ["a"]
    bench.turn(now_s=160.9)
    bench.turn(now_s=161.0)
    assert looks == [101.0, 161.0]
    bench.close()
