"""What the worker tells of a recorded session is enough to compute it again, over changes of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamgen.engine.journal import identify, weights_digest
from streamgen.engine.messages import Logged, RecordSession, ReformatSession, UpdateSession, WorkerInfo
from streamgen.engine.replay import Replay
from streamgen.engine.swap import Loaded
from streamgen.frames import Frame, Pixels
from streamgen.recording import Recording
from streamgen.server.opened import MAX_FRAME_BYTES
from streamgen.server.recorder import Recorder
from streamgen.settings import FrameFormat, Reading, StreamSettings
from streamgen.timeline import Began, Computed, ModelIdentity, ModelInForce
from tests.engine.loop import Bench, NoSwap, bench_of
from tests.engine.toy import toy_engine

LIVELY = StreamSettings(prompt="red", seed_speed=1.5, feedback=0.5, transition_ms=1000, skip_similar=0.001)


class Swap(NoSwap):
    """Lets a former engine go."""

    def retire(self, engines: list[Any]) -> None:
        for engine in engines:
            engine.close_all()


class Stage:
    """A worker with a recorder beside it, as the server would have them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bench: Bench = bench_of(toy_engine(), Swap())
        self.bench.worker._max_frame_bytes = MAX_FRAME_BYTES
        self.recorder = Recorder(folder, "a", "cam", print, lambda: None, least_free_bytes=0)
        self.recorder.begin()
        self.live: dict[int, Pixels] = {}
        self.seen: list[Any] = []

    def show(self, seq: int, now_s: float, *, replaced: bool = False) -> None:
        """One frame, and before it one that the engine never sees."""
        for number in (seq - 1, seq) if replaced else (seq,):
            pixels = np.full((2, 2, 3), number, np.uint8)
            self.recorder.frame(Frame(pixels, number, 0, 0.0))
            self.bench.send("a", number, number)
        self.bench.turn(now_s)
        taken = self.bench.slots["a"][1].take()
        if taken is not None:
            self.live[taken.note.seq] = taken.pixels
        self.pass_on()

    def tell(self, command: Any, now_s: float) -> None:
        self.bench.clock[0] = now_s
        self.bench.obey(command)
        self.pass_on()

    def pass_on(self) -> None:
        for report in self.bench.heard():
            if isinstance(report, Logged):
                self.seen.append(report.event)
                self.recorder.log(report.event)

    def end(self) -> Recording:
        self.pass_on()
        self.recorder.end("stopped")
        assert self.recorder.join(20)
        self.bench.close()
        return Recording.open(self.folder / "a.jsonl")


def build(model: ModelIdentity) -> Any:
    return toy_engine(max_steps=model.spec["max_steps"])


def test_every_change_comes_back_at_its_frame_and_its_tick_of_the_clock(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.bench.open("a", LIVELY, Reading(1.0, {"red": 1.0}))
    stage.show(10, 100.0)
    stage.live.clear()
    stage.tell(RecordSession("a", True), 100.5)
    stage.show(20, 101.0)
    stage.show(40, 101.3, replaced=True)
    calmer = {"prompt": "blue", "steps": 3, "seed_speed": 0.0, "transition_ms": 200}
    stage.tell(UpdateSession("a", LIVELY.model_copy(update=calmer), 4), 101.4)
    stage.show(50, 101.5)  # half way from red to blue
    stage.show(60, 101.7)
    stage.show(60, 101.8)  # the same again: left out
    stage.tell(ReformatSession("a", FrameFormat(width=160, height=128), 1), 101.9)
    stage.show(80, 102.0)
    other = toy_engine(max_steps=2)
    stage.bench.worker._take_model(Loaded(other, WorkerInfo("two", (), "eager float32", "cpu")))
    stage.show(100, 102.4)
    stage.show(120, 102.6)
    stage.tell(RecordSession("a", False), 102.7)
    stage.show(140, 102.8)
    recording = stage.end()
    del stage.live[140]
    kinds = [type(event) for event in stage.seen]
    assert kinds[0] is Began and ModelInForce in kinds
    outcomes = [event.outcome for event in stage.seen if isinstance(event, Computed)]
    assert outcomes.count("similar") == 1
    again = Replay(recording, build)
    outputs = {output.seq: output.pixels for output in again.pictures()}
    again.close()
    assert outputs.keys() == stage.live.keys() and len(outputs) == 7
    for seq, pixels in stage.live.items():
        np.testing.assert_array_equal(pixels, outputs[seq])
    assert recording.survey.unseen == 3  # one before the beginning, one that was replaced, one after the end


def test_every_frame_and_another_size_are_computed_when_they_are_asked_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.bench.open("a", reading=Reading(1.0, {"": 1.0}))
    stage.tell(RecordSession("a", True), 100.5)
    for index in range(4):
        stage.show(10 + 2 * index, 101.0 + index, replaced=True)
    recording = stage.end()
    every = Replay(recording, build, every_frame=True, size=(192, 128))
    outputs = list(every.pictures())
    every.close()
    assert [output.seq for output in outputs] == list(range(9, 17))
    assert {output.pixels.shape for output in outputs} == {(128, 192, 3)}


def test_a_session_that_is_not_recorded_is_not_told_of(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.bench.open("a", reading=Reading(1.0, {"": 1.0}))
    stage.show(10, 101.0)
    assert stage.seen == []
    stage.recorder.end("stopped")
    stage.bench.close()


def test_weights_are_known_again_by_their_numbers() -> None:
    import torch
    from torch import nn

    one, other = toy_engine(), toy_engine()
    for engine in (one, other):
        engine.model.network = nn.Linear(400, 400)
    other.model.network.load_state_dict(one.model.network.state_dict())
    assert weights_digest(one) == weights_digest(other) == identify(one).weights
    with torch.no_grad():
        other.model.network.weight.mul_(1.001)
    assert weights_digest(one) != weights_digest(other)
    for engine in (one, other):
        engine.close_all()
