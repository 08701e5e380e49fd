"""The worker's loop with an engine that does what a test tells it, in this process and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from streamgen.config import ModelSpec
from streamgen.engine.engine import Engine
from streamgen.engine.messages import (
    Applied,
    Dropped,
    FrameFailed,
    Freed,
    Made,
    OpenSession,
    Referenced,
    ReferenceFailed,
    ReferSession,
    ReformatFailed,
    ReformatSession,
    Reformatted,
    Refused,
    RunSession,
    Switched,
    SwitchFailed,
    SwitchModel,
    UpdateSession,
    WorkerLaunch,
)
from streamgen.engine.swap import ModelSwap
from streamgen.errors import WeightsError
from streamgen.frames import Pixels
from streamgen.logs import about
from streamgen.settings import FrameFormat, Reading, StreamSettings
from tests.engine.loop import CONTEXT, SMALL, Bench, Script, bench_of
from tests.engine.toy import ToyModel, toy_engine

WIDE = FrameFormat(width=256, height=128)
DREAM = StreamSettings(source="prompt", max_fps=10)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = bench_of(Script())
    yield made
    made.close()


def test_a_frame_the_engine_fails_on_takes_no_other_sessions_frame_with_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for session, level in (("good", 9), ("bad", 0), ("fine", 7)):
        bench.open(session)
        bench.send(session, level)
    bench.turn()
    made, failed, fine = bench.heard()
    assert (made, fine) == (Made("good"), Made("fine"))
    assert isinstance(failed, FrameFailed) and failed.session == "bad"
    [line] = caplog.records
    assert vars(line).items() >= about("bad").items()


def test_a_session_whose_frames_fail_waits_its_turn_like_any_other() -> None:
    bench = bench_of(Script(max_batch=1))
    for session in ("bad", "good"):
        bench.open(session)
    served = []
    for turn in range(4):
        for session, level in (("bad", 0), ("good", 9)):
            bench.send(session, level)
        served += bench.turn(now_s=101.0 + turn)
    assert served == ["bad", "good", "bad", "good"]
    bench.close()


def test_settings_that_hit_a_defect_are_refused_and_the_worker_lives_on(bench: Bench) -> None:
    bench.open("a")
    bench.obey(UpdateSession("a", StreamSettings(prompt="defect"), 7))
    [report] = bench.heard()
    assert isinstance(report, Refused)
    assert (report.session, report.rev, report.error.code) == ("a", 7, "engine_failed")


# ------------------------------------------------------------------------------------------------------ prompt streams


def test_a_prompt_stream_makes_a_frame_of_its_own_whenever_one_is_due(bench: Bench) -> None:
    bench.open("a", DREAM)
    made = [(now_s, bench.turn(now_s)) for now_s in (100.0, 100.05, 100.1, 100.15, 100.2)]
    assert [now_s for now_s, served in made if served] == [100.0, 100.1, 100.2]
    assert bench.heard() == [Made("a")] * 3
    note = bench.picture("a")
    assert note.seq == 2
    assert note.captured_us > 1_700_000_000_000_000  # the clock on the wall, unlike the loop's


def test_a_prompt_stream_shares_a_step_with_frames_that_were_sent(bench: Bench) -> None:
    bench.open("dreams", DREAM)
    bench.open("sends")
    bench.send("sends", 9)
    assert sorted(bench.turn()) == ["dreams", "sends"]


def test_frames_sent_to_a_prompt_stream_are_dropped_and_counted(bench: Bench) -> None:
    bench.open("a", DREAM)
    bench.turn()
    for seq in range(3):
        bench.send("a", 9, seq)
    assert bench.turn() == []
    assert bench.heard() == [Made("a"), Dropped("a", "source", 3)]


def test_a_prompt_stream_rests_while_it_may_not_run_and_counts_on(bench: Bench) -> None:
    bench.open("a", DREAM)
    bench.turn(100.0)
    bench.obey(RunSession("a", False))
    assert bench.turn(105.0) == []
    bench.obey(RunSession("a", True))
    assert bench.turn(105.0) == ["a"]
    assert bench.picture("a").seq == 1


def test_settings_start_and_stop_a_prompt_stream(bench: Bench) -> None:
    bench.open("a")
    assert bench.turn() == []
    bench.obey(UpdateSession("a", DREAM, 1))
    assert bench.turn() == ["a"]
    bench.obey(UpdateSession("a", StreamSettings(), 2))
    assert bench.turn(200.0) == []
    bench.send("a", 9, seq=5)
    assert bench.turn(200.0) == ["a"]
    assert bench.picture("a").seq == 5


def test_commands_about_sessions_that_are_gone_are_ignored(bench: Bench) -> None:
    bench.obey(RunSession("ghost", True))
    bench.obey(ReformatSession("ghost", WIDE, 1))
    assert bench.turn() == []


# ------------------------------------------------------------------------------------------------------------- formats


def test_pictures_keep_their_format_until_the_next_one_is_ready(bench: Bench) -> None:
    bench.open("a")
    bench.obey(ReformatSession("a", WIDE, 1))
    bench.send("a", 9)
    bench.turn()
    assert bench.heard() == [Made("a")]
    assert bench.picture("a").format_rev == 0
    bench.worker._engine.ready_formats = ("a",)  # type: ignore[misc]
    bench.send("a", 9)
    bench.turn()
    assert bench.heard() == [Reformatted("a", 1), Made("a")]
    assert bench.picture("a").format_rev == 1


def test_a_format_that_cannot_be_had_leaves_the_present_one(bench: Bench) -> None:
    bench.open("a")
    bench.obey(ReformatSession("a", FrameFormat(width=1024, height=1024), 1))
    bench.worker._engine.ready_formats = ("a",)  # type: ignore[misc]
    bench.send("a", 9)
    bench.turn()
    failed, made = bench.heard()
    assert isinstance(failed, ReformatFailed)
    assert (failed.session, failed.rev, failed.error.code) == ("a", 1, "engine_failed")
    assert made == Made("a")
    assert bench.picture("a").format_rev == 0


def test_a_format_that_cannot_be_begun_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def reformat(*_: object) -> None:
        raise WeightsError("weights_missing", "there is no upscaler")

    monkeypatch.setattr(bench.worker._engine, "reformat", reformat)
    bench.open("a")
    bench.obey(ReformatSession("a", FrameFormat(width=256, height=256, upscale=2), 1))
    [failed] = bench.heard()
    assert isinstance(failed, ReformatFailed)
    assert (failed.session, failed.rev, failed.error.code) == ("a", 1, "weights_missing")
    bench.send("a", 9)
    assert bench.turn() == ["a"]


# -------------------------------------------------------------------------------------------------- reference pictures

REFERENCE = np.full((16, 16, 3), 3, np.uint8)


def seeing(engine: Engine) -> Engine:
    """An engine whose model takes reference pictures."""
    engine.model.takes_reference = True
    return engine


def reference_of(bench: Bench, session: str) -> Pixels | None:
    """What the engine steers the session by."""
    return bench.worker._engine._sessions[session].reference


def test_a_reference_picture_is_put_in_force_and_taken_away() -> None:
    bench = bench_of(seeing(toy_engine()))
    for session in ("a", "b"):
        toy_open(bench, session, StreamSettings(prompt="red"))
    bench.obey(ReferSession("a", REFERENCE, 1))
    assert reference_of(bench, "a") is REFERENCE and reference_of(bench, "b") is None
    bench.obey(ReferSession("a", None, 2))
    assert reference_of(bench, "a") is None
    bench.obey(ReferSession("ghost", REFERENCE, 1))
    assert bench.heard() == [Referenced("a", 1), Referenced("a", 2)]
    bench.close()


def test_a_model_that_takes_no_reference_picture_refuses_it_and_has_none_to_take_away() -> None:
    bench = bench_of(toy_engine())
    toy_open(bench, "a", StreamSettings(prompt="red"))
    bench.obey(ReferSession("a", REFERENCE, 1))
    bench.obey(ReferSession("a", None, 2))
    failed, referenced = bench.heard()
    assert isinstance(failed, ReferenceFailed)
    assert (failed.session, failed.rev, failed.error.code) == ("a", 1, "no_reference")
    assert referenced == Referenced("a", 2)
    bench.close()


def test_a_reference_picture_that_hits_a_defect_leaves_the_one_before_and_the_worker_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = bench_of(seeing(toy_engine()))
    toy_open(bench, "a", StreamSettings(prompt="red"))
    bench.obey(ReferSession("a", REFERENCE, 1))

    def fail(*args: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(ToyModel, "reference_conditioning", fail)
    bench.obey(ReferSession("a", REFERENCE[:8], 2))
    _, failed = bench.heard()
    assert isinstance(failed, ReferenceFailed) and failed.error.code == "engine_failed"
    assert reference_of(bench, "a") is REFERENCE
    bench.close()


@pytest.mark.parametrize("takes", [True, False])
def test_a_session_opened_with_a_reference_picture_has_it_wherever_the_model_takes_one(takes: bool) -> None:
    bench = bench_of(seeing(toy_engine()) if takes else toy_engine())
    toy_open(bench, "a", StreamSettings(prompt="red"))  # for its slots
    inbox, outbox = bench.slots["a"]
    bench.obey(OpenSession("a", SMALL, StreamSettings(), 4, inbox.name, outbox.name, reference=REFERENCE))
    [applied] = bench.heard()
    assert (applied.session, applied.rev) == ("a", 4)
    assert reference_of(bench, "a") is (REFERENCE if takes else None)
    bench.close()


def test_a_reference_picture_waits_through_a_model_that_takes_none() -> None:
    engines = {"other": toy_engine(), "toy": seeing(toy_engine())}
    bench = swapping(lambda spec: engines[spec.family])
    seeing(bench.worker._engine)
    for session in ("a", "b"):
        toy_open(bench, session, StreamSettings(prompt="red"))
    bench.obey(ReferSession("a", REFERENCE, 1))
    assert bench.heard() == [Referenced("a", 1)]
    for model, reference in (("other", None), ("toy", REFERENCE)):
        bench.obey(SwitchModel(model))
        switched = next(report for report in swapped(bench) if isinstance(report, Switched))
        assert switched.info.takes_reference is (reference is not None)
        assert reference_of(bench, "a") is reference and reference_of(bench, "b") is None
    bench.close()


def swapped(bench: Bench) -> list[Any]:
    """Turn the loop until the next model has taken over; the former one's memory may be given back in between."""
    reports: list[Any] = []
    while not any(isinstance(report, Switched) for report in reports):
        reports += finish_swap(bench)
    return reports


# -------------------------------------------------------------------------------------------------------------- models


def swapping(build: Any) -> Bench:
    """A worker with a toy engine, and with models ``other`` and ``broken`` that it can load."""
    models = {name: ModelSpec(family=name) for name in ("toy", "other", "broken")}
    launch = WorkerLaunch(models, "toy", None, "eager", 1, 12, 30.0)
    rung = CONTEXT.Semaphore(0)
    bench = bench_of(toy_engine(), ModelSwap(launch, build, rung.release))
    bench.worker._doorbell = rung
    return bench


def finish_swap(bench: Bench) -> list[Any]:
    """Wait for the swap's thread to ring, and let the loop take a turn."""
    assert bench.worker._doorbell.acquire(timeout=30)
    bench.turn()
    return bench.heard()


def toy_open(bench: Bench, session: str, settings: StreamSettings) -> None:
    bench.open(session, settings, Reading(1.0, {settings.prompt: 1.0}))


def test_another_model_takes_over_every_session_and_the_former_one_gives_its_memory_back() -> None:
    bench = swapping(lambda spec: toy_engine(max_steps=2))
    toy_open(bench, "a", StreamSettings(prompt="red", steps=4))
    toy_open(bench, "b", StreamSettings(prompt="blue"))
    former = bench.worker._engine
    bench.obey(SwitchModel("other"))
    switched, *applied = finish_swap(bench)
    assert isinstance(switched, Switched)
    assert (switched.info.model, switched.info.max_steps) == ("other", 2)
    assert switched.info.models == ("toy", "other", "broken")
    assert applied == [Applied("a", 3, Reading(1.0, {"red": 1.0})), Applied("b", 3, Reading(1.0, {"blue": 1.0}))]
    assert bench.worker._engine is not former
    for session in ("a", "b"):
        bench.send(session, 9)
    assert bench.turn() == ["a", "b"]
    assert bench.heard() == [Made("a"), Made("b")]
    [freed] = finish_swap(bench)
    assert isinstance(freed, Freed)
    assert former.sessions == ()
    bench.close()


def test_a_session_opened_for_the_former_model_is_served_by_the_next_as_far_as_it_can() -> None:
    bench = swapping(lambda spec: toy_engine(max_steps=2))
    bench.obey(SwitchModel("other"))
    finish_swap(bench)
    toy_open(bench, "late", StreamSettings(prompt="red", steps=4))
    bench.send("late", 9)
    assert bench.turn() == ["late"]
    bench.close()


@pytest.mark.parametrize(
    ("failure", "code"),
    [(WeightsError("weights_missing", "there is no file"), "weights_missing"), (RuntimeError("boom"), "switch_failed")],
)
def test_a_model_that_cannot_be_loaded_leaves_the_present_one(failure: Exception, code: str) -> None:
    def build(spec: ModelSpec) -> Any:
        raise failure

    bench = swapping(build)
    toy_open(bench, "a", StreamSettings(prompt="red"))
    engine = bench.worker._engine
    bench.obey(SwitchModel("broken"))
    [failed] = finish_swap(bench)
    assert isinstance(failed, SwitchFailed)
    assert failed.error.code == code
    assert failed.error.__traceback__ is None  # its frames would keep half a model in memory
    assert bench.worker._engine is engine
    bench.obey(SwitchModel("broken"))  # and another try is welcome
    assert isinstance(finish_swap(bench)[0], SwitchFailed)
    bench.close()


def test_a_model_that_cannot_take_over_a_session_takes_over_none(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = swapping(lambda spec: toy_engine())
    toy_open(bench, "a", StreamSettings(prompt="red"))
    engine = bench.worker._engine
    bench.obey(SwitchModel("other"))
    assert bench.worker._doorbell.acquire(timeout=30)

    def fail(*args: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(ToyModel, "latent_shape", fail)
    bench.turn()
    [failed] = bench.heard()
    assert isinstance(failed, SwitchFailed) and failed.error.code == "switch_failed"
    assert bench.worker._engine is engine
    bench.close()


def test_one_model_is_loaded_at_a_time() -> None:
    loading: Future[None] = Future()

    def build(spec: ModelSpec) -> Any:
        loading.result()
        return toy_engine()

    bench = swapping(build)
    bench.obey(SwitchModel("other"))
    bench.obey(SwitchModel("other"))
    bench.obey(SwitchModel("ghost"))
    assert [report.error.code for report in bench.heard()] == ["switch_pending", "switch_pending"]
    loading.set_result(None)
    assert isinstance(finish_swap(bench)[0], Switched)
    bench.obey(SwitchModel("ghost"))
    assert [report.error.code for report in bench.heard() if isinstance(report, SwitchFailed)] == ["unknown_model"]
    bench.close()
