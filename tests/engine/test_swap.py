from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from streamgen import devices
from streamgen.config import LoraSpec, ModelSpec
from streamgen.engine.engine import Engine
from streamgen.engine.messages import WorkerLaunch
from streamgen.engine.swap import Loaded, ModelSwap, spec_of
from streamgen.errors import ConfigError
from streamgen.settings import FrameFormat
from tests.engine.toy import toy_engine

LORAS = (LoraSpec("lcm", "l.safetensors", fused=True), LoraSpec("soft", "s.safetensors"), LoraSpec("hard", "h"))
LAUNCH = WorkerLaunch(
    {"toy": ModelSpec(), "sd": ModelSpec(family="sd", loras=LORAS)}, "toy", None, "eager", 1, 12, 30.0
)


class Bell:
    """Lets a test wait for what a thread does."""

    def __init__(self) -> None:
        self._rung = threading.Semaphore(0)

    def ring(self) -> None:
        self._rung.release()

    def wait(self) -> None:
        assert self._rung.acquire(timeout=30)


def swap_of(bell: Bell, build: Any = lambda spec: toy_engine()) -> ModelSwap:
    return ModelSwap(LAUNCH, build, bell.ring)


def test_a_model_is_loaded_with_the_loras_that_were_named_and_those_it_needs() -> None:
    spec = LAUNCH.models["sd"]
    assert spec_of(LAUNCH, "sd", None) == spec
    assert spec_of(LAUNCH, "sd", ("hard",)) == replace(spec, loras=(LORAS[0], LORAS[2]))
    assert spec_of(LAUNCH, "sd", ()) == replace(spec, loras=(LORAS[0],))


def test_a_model_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        spec_of(LAUNCH, "/etc/passwd", None)
    assert (caught.value.code, caught.value.field) == ("unknown_model", "model")


def test_a_loaded_engine_has_the_formats_in_use_compiled_and_is_handed_out_once() -> None:
    bell = Bell()
    swap = swap_of(bell)
    assert swap.loaded() is None
    formats = [FrameFormat(width=width, height=128) for width in (128, 160)]
    swap.begin("toy", None, formats)
    bell.wait()
    loaded = swap.loaded()
    assert isinstance(loaded, Loaded)
    assert loaded.engine.compilations >= 2  # what one session needs of two formats; larger batches follow
    for format in formats:
        loaded.engine.prepare(format)
    assert loaded.engine.compilations == 6  # batch sizes 1, 2 and 4
    assert (loaded.info.model, loaded.info.models, loaded.info.styles) == ("toy", ("toy", "sd"), ("red", "blue"))
    assert swap.loaded() is None
    loaded.engine.close_all()


def test_memory_is_given_back_when_nobody_holds_the_engine_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell()
    swap = swap_of(bell)
    gone = threading.Event()
    monkeypatch.setattr(devices, "allocated_bytes", lambda device: 300 if gone.is_set() else 1000)
    monkeypatch.setattr(Engine, "__del__", lambda engine: gone.set(), raising=False)
    swap.retire([toy_engine()])
    bell.wait()
    assert swap.freed() == [700]
    assert swap.freed() == []


def test_memory_of_a_model_that_failed_to_load_is_given_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell()
    given_back: list[str] = []
    monkeypatch.setattr(devices, "give_back_memory", given_back.append)

    def build(spec: ModelSpec) -> Engine:
        raise MemoryError("no room")

    swap = swap_of(bell, build)
    swap.begin("toy", None, [])
    bell.wait()
    with pytest.raises(Exception, match="the model toy could not be loaded: no room"):
        swap.loaded()
    assert given_back == ["cpu"]
