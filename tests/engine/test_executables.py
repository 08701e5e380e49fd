from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled
from streamgen.config import ModelSpec
from streamgen.engine.engine import Engine
from streamgen.engine.executables import example_inputs
from streamgen.engine.select import BackendReport
from streamgen.frames import Frame, Pixels
from streamgen.settings import FrameFormat, StreamSettings
from tests.engine.toy import ToyModel

SMALL = FrameFormat(width=128, height=128)


class SlowBackend(Backend):
    """Compiles when the test allows it; its network returns black."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__("cpu", "float32", 1)
        self.allowed = threading.Event()

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        return None

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        self.allowed.wait(10)
        return lambda x_t, *rest: torch.full_like(x_t, -1.0)


def test_frames_are_served_by_a_stand_in_until_the_network_is_compiled(picture: Pixels) -> None:
    model = ToyModel(ModelSpec(family="toy"))
    backend = SlowBackend()
    engine = Engine(model, backend, BackendReport("slow", "float32", ""), 1, wait_for_compilation=False)
    engine.open("a", SMALL, StreamSettings())
    [(_, early)] = engine.step([("a", Frame(picture))], 0.0)
    assert early.warm_up
    assert early.pixels.any()
    backend.allowed.set()
    engine.prepare(SMALL)
    [(_, late)] = engine.step([("a", Frame(picture))], 0.0)
    assert not late.warm_up
    assert not late.pixels.any()
    engine.close_all()


def test_shapes_that_no_session_uses_are_not_compiled_and_those_in_use_are_never_dropped() -> None:
    model = ToyModel(ModelSpec(family="toy"))
    backend = SlowBackend()
    engine = Engine(model, backend, BackendReport("slow", "float32", ""), 1, wait_for_compilation=False)
    formats = [FrameFormat(width=128 + 32 * index, height=128) for index in range(20)]
    for index, format in enumerate(formats):
        engine.open(f"session {index}", format, StreamSettings())
    for index in range(5, 20):
        engine.close(f"session {index}")
    backend.allowed.set()
    for format in formats[:5]:
        engine.prepare(format)
    assert engine.compilations == 5
    engine.close_all()


class BrokenBackend(SlowBackend):
    """Fails to compile while the test forbids it."""

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        if not self.allowed.is_set():
            raise MemoryError("no room")
        return super().compile(network, example)


def test_a_shape_that_could_not_be_compiled_is_served_eagerly_and_tried_again_by_the_next_session(
    picture: Pixels,
) -> None:
    model = ToyModel(ModelSpec(family="toy"))
    backend = BrokenBackend()
    engine = Engine(model, backend, BackendReport("slow", "float32", ""), 1, wait_for_compilation=False)
    engine.open("a", SMALL, StreamSettings())
    with pytest.raises(MemoryError):
        engine.prepare(SMALL)
    [(_, output)] = engine.step([("a", Frame(picture))], 0.0)
    assert output.warm_up
    backend.allowed.set()
    engine.open("b", SMALL, StreamSettings())
    engine.prepare(SMALL)
    [(_, output)] = engine.step([("a", Frame(picture))], 0.0)
    assert not output.warm_up
    engine.close_all()


def test_example_inputs_have_the_networks_shapes() -> None:
    x_t, t, colour, source = example_inputs(ToyModel(ModelSpec(family="toy")), 2, 128, 160)
    assert (x_t.shape, t.shape, colour.shape, source.shape) == ((2, 3, 128, 160), (2,), (2, 3), (2, 3, 128, 160))
