"""The real worker process, with random weights of the embedded family."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch

from streamgen.config import ServerConfig
from streamgen.engine import build_engine
from streamgen.engine.shares import Load
from streamgen.errors import BackendUnavailable, SettingsError, StreamgenError, WeightsError
from streamgen.frames import Frame, Output, Pixels
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import save_network
from streamgen.server.pool import Worker
from streamgen.settings import FrameFormat, Reading, StreamSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = FrameFormat(width=128, height=128)
PENCIL = StreamSettings(prompt="pencil", seed=3)
COMIC = StreamSettings(prompt="comic", seed=4, steps=2)


class Ear:
    """Listens to one session and lets a test wait for what it hears."""

    def __init__(self) -> None:
        self.outputs: asyncio.Queue[Output] = asyncio.Queue()
        self.applied: asyncio.Queue[tuple[int, Reading | None]] = asyncio.Queue()
        self.refusals: asyncio.Queue[tuple[int, StreamgenError]] = asyncio.Queue()
        self.errors: asyncio.Queue[StreamgenError] = asyncio.Queue()
        self.warnings: asyncio.Queue[str] = asyncio.Queue()
        self.formats: asyncio.Queue[tuple[int, FrameFormat]] = asyncio.Queue()
        self.references: asyncio.Queue[int] = asyncio.Queue()
        self.drops: dict[str, int] = {}

    def on_output(self, output: Output, *, gap: bool) -> None:
        self.outputs.put_nowait(output)

    def on_applied(self, rev: int, reading: Reading | None) -> None:
        self.applied.put_nowait((rev, reading))

    def on_reformatted(self, rev: int, format: FrameFormat) -> None:
        self.formats.put_nowait((rev, format))

    def on_reformat_failed(self, rev: int, error: StreamgenError) -> None:
        self.errors.put_nowait(error)

    def on_referenced(self, rev: int) -> None:
        self.references.put_nowait(rev)

    def on_reference_failed(self, rev: int, error: StreamgenError) -> None:
        self.refusals.put_nowait((rev, error))

    def on_dropped(self, reason: str, count: int) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + count

    def on_refused(self, rev: int, error: StreamgenError) -> None:
        self.refusals.put_nowait((rev, error))

    def on_error(self, error: StreamgenError) -> None:
        self.errors.put_nowait(error)

    def on_warning(self, code: str, message: str) -> None:
        self.warnings.put_nowait(code)


async def soon(queue: asyncio.Queue) -> Any:
    return await asyncio.wait_for(queue.get(), 60)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServerConfig:
    torch.manual_seed(1)
    weights = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_network(TinyUNet(2), ["pencil", "comic"], weights)
    return ServerConfig(weights=weights, backend="eager", threads=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(config: ServerConfig) -> AsyncIterator[Worker]:
    worker = Worker(config)
    await worker.start()
    yield worker
    await worker.stop()


def expected(config: ServerConfig, settings: StreamSettings, pixels: Pixels) -> Pixels:
    """What an engine in this process makes of one frame."""
    torch.set_num_threads(1)
    engine = build_engine(config.spec, "eager", 1)
    engine.open("alone", SMALL, settings)
    [(_, output)] = engine.step([("alone", Frame(pixels))], 0.0)
    engine.close_all()
    return output.pixels


async def test_sessions_get_their_own_frames_in_their_own_style_and_never_another_ones(
    worker: Worker, config: ServerConfig, picture: Pixels
) -> None:
    ears = {"a": Ear(), "b": Ear()}
    sources = {"a": picture, "b": picture[::-1].copy()}
    settings = {"a": PENCIL, "b": COMIC}
    wanted = {name: expected(config, settings[name], sources[name]).astype(int) for name in ears}
    assert np.abs(wanted["a"] - wanted["b"]).mean() > 5
    for rev, name in enumerate(ears):
        worker.open(name, SMALL, settings[name], rev, ears[name])
    for seq in range(6):
        for name in ears:
            worker.submit(name, Frame(sources[name], seq=seq, captured_us=1000 + seq))
        for rev, name in enumerate(ears):
            output = await soon(ears[name].outputs)
            assert isinstance(output, Output)
            assert (output.seq, output.captured_us, output.settings_rev) == (seq, 1000 + seq, rev)
            # One grey level of slack: which of eager's precisions measured faster may differ between processes.
            assert np.abs(output.pixels.astype(int) - wanted[name]).mean() < 2
    for name in ears:
        worker.close(name)


async def test_the_newest_frame_wins_and_every_other_one_is_counted(worker: Worker, picture: Pixels) -> None:
    ear = Ear()
    worker.open("busy", SMALL, PENCIL, 1, ear)
    await soon(ear.applied)
    for seq in range(50):
        worker.submit("busy", Frame(picture, seq=seq))
    made = 1
    while (await soon(ear.outputs)).seq != 49:
        made += 1
    assert made + ear.drops["replaced"] == 50
    worker.close("busy")


async def test_settings_apply_to_every_later_frame(worker: Worker, picture: Pixels) -> None:
    ear = Ear()
    worker.open("a", SMALL, PENCIL, 1, ear)
    assert await soon(ear.applied) == (1, Reading(1.0, {"pencil": 1.0}))
    worker.update("a", COMIC, 2)
    assert await soon(ear.applied) == (2, Reading(1.0, {"comic": 1.0}))
    worker.submit("a", Frame(picture))
    output = await soon(ear.outputs)
    assert isinstance(output, Output)
    assert output.settings_rev == 2
    worker.close("a")


async def test_refused_settings_are_told_to_their_session_and_no_other(worker: Worker, picture: Pixels) -> None:
    ear, other = Ear(), Ear()
    worker.open("a", SMALL, PENCIL, 1, ear)
    worker.open("b", SMALL, PENCIL, 1, other)
    worker.update("a", PENCIL.model_copy(update={"steps": 9}), 2)
    rev, error = await soon(ear.refusals)
    assert rev == 2
    assert isinstance(error, SettingsError)
    worker.submit("a", Frame(picture))
    await soon(ear.outputs)
    assert other.refusals.empty()
    worker.close("a")
    worker.close("b")


async def test_a_session_opened_anew_before_the_worker_saw_it_is_served_in_its_new_format(
    worker: Worker, picture: Pixels
) -> None:
    ear = Ear()
    process = worker._current
    for width in (128, 160, 192, 224):  # each takes away the slots of the one before
        worker.open("a", FrameFormat(width=width, height=128), PENCIL, 1, ear)
    worker.submit("a", Frame(picture))
    output = await soon(ear.outputs)
    assert isinstance(output, Output)
    assert output.pixels.shape == (128, 224, 3)
    worker.open("b", SMALL, PENCIL, 1, Ear())
    worker.close("b")
    worker.submit("a", Frame(picture, seq=1))
    assert (await soon(ear.outputs)).seq == 1
    assert worker._current is process
    worker.close("a")


async def test_a_killed_worker_is_replaced_and_its_sessions_go_on(worker: Worker, picture: Pixels) -> None:
    ear = Ear()
    worker.open("a", SMALL, COMIC, 5, ear)
    worker.submit("a", Frame(picture, seq=1))
    before = await soon(ear.outputs)
    assert worker._current is not None
    pid = worker._current.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert await soon(ear.warnings) == "worker_restarting"
    assert await soon(ear.warnings) == "worker_restarted"
    worker.submit("a", Frame(picture, seq=2))
    after = await soon(ear.outputs)
    assert isinstance(before, Output) and isinstance(after, Output)
    assert (after.seq, after.settings_rev) == (2, 5)
    assert np.abs(after.pixels.astype(int) - before.pixels).mean() < 2
    worker.close("a")


async def test_a_worker_killed_again_while_it_restarts_comes_back_with_the_settings_asked_for_meanwhile(
    worker: Worker, picture: Pixels
) -> None:
    ear = Ear()
    worker.open("a", SMALL, PENCIL, 1, ear)
    assert (await soon(ear.applied))[0] == 1
    for expected_warning in ("worker_restarting", None):
        current = worker._current
        assert current is not None and current.process.pid is not None
        os.kill(current.process.pid, signal.SIGKILL)
        if expected_warning is not None:
            assert await soon(ear.warnings) == expected_warning
            async with asyncio.timeout(60):
                while worker._current is current:
                    await asyncio.sleep(0)
    worker.update("a", COMIC, 2)
    assert await soon(ear.warnings) == "worker_restarted"
    assert await soon(ear.applied) == (2, Reading(1.0, {"comic": 1.0}))
    assert ear.refusals.empty()
    worker.submit("a", Frame(picture))
    assert (await soon(ear.outputs)).settings_rev == 2
    worker.close("a")


async def test_a_worker_killed_while_it_prepares_a_format_comes_back_with_it(worker: Worker, picture: Pixels) -> None:
    ear = Ear()
    worker.open("a", SMALL, PENCIL, 1, ear)
    await soon(ear.applied)
    current = worker._current
    assert current is not None and current.process.pid is not None
    os.kill(current.process.pid, signal.SIGSTOP)  # it cannot answer any more
    wide = FrameFormat(width=256, height=128)
    worker.reformat("a", FrameFormat(width=128, height=256), 1)
    worker.reformat("a", wide, 2)
    os.kill(current.process.pid, signal.SIGKILL)
    assert await soon(ear.warnings) == "worker_restarting"
    assert await soon(ear.warnings) == "worker_restarted"
    assert await soon(ear.formats) == (2, wide)
    worker.submit("a", Frame(picture))
    output = await soon(ear.outputs)
    assert isinstance(output, Output)
    assert output.pixels.shape == (128, 256, 3)
    assert ear.formats.empty()
    worker.close("a")


async def test_a_reference_picture_reaches_the_worker_and_is_answered(worker: Worker, picture: Pixels) -> None:
    ear = Ear()
    worker.open("a", SMALL, PENCIL, 1, ear, picture)  # kept for a model that takes one
    worker.refer("a", picture, 1)
    worker.refer("ghost", picture, 1)
    rev, error = await soon(ear.refusals)
    assert (rev, error.code) == (1, "no_reference")
    worker.refer("a", None, 2)  # there is none to take away, and nothing wrong with that
    assert await soon(ear.references) == 2
    worker.close("a")


async def test_a_worker_killed_before_it_answered_for_a_reference_picture_is_asked_again(
    worker: Worker, picture: Pixels
) -> None:
    ear = Ear()
    worker.open("a", SMALL, PENCIL, 1, ear)
    await soon(ear.applied)
    current = worker._current
    assert current is not None and current.process.pid is not None
    os.kill(current.process.pid, signal.SIGSTOP)  # it cannot answer any more
    worker.refer("a", picture, 1)
    worker.refer("a", None, 2)
    os.kill(current.process.pid, signal.SIGKILL)
    assert await soon(ear.references) == 2
    worker.close("a")


async def test_a_session_hears_nothing_of_an_earlier_one_of_its_name(worker: Worker) -> None:
    former, ear = Ear(), Ear()
    worker.open("a", SMALL, PENCIL, 0, former)
    for rev in range(1, 6):
        worker.update("a", PENCIL, rev)
    worker.close("a")
    worker.open("a", SMALL, COMIC, 0, ear)
    worker.update("a", COMIC, 1)
    assert [(await soon(ear.applied))[0], (await soon(ear.applied))[0]] in ([0, 1], [1, 1])
    assert ear.applied.empty()
    worker.close("a")


async def test_a_worker_that_hangs_is_ended_and_replaced(
    config: ServerConfig, picture: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgen.server.pool._WATCH_S", 0.05)
    worker, ear = Worker(replace(config, hang_timeout_s=1.0)), Ear()
    await worker.start()
    worker.open("a", SMALL, PENCIL, 1, ear)
    for seq in range(3):  # a process that has computed nothing yet is given ten times as long
        worker.submit("a", Frame(picture, seq=seq))
        await soon(ear.outputs)
    hung = worker._current
    assert hung is not None and hung.process.pid is not None
    os.kill(hung.process.pid, signal.SIGSTOP)
    assert await soon(ear.warnings) == "worker_restarting"
    assert await soon(ear.warnings) == "worker_restarted"
    worker.submit("a", Frame(picture, seq=9))
    assert (await soon(ear.outputs)).seq == 9
    assert not hung.process.is_alive()
    await worker.stop()


async def test_the_load_is_reported_by_session(worker: Worker, picture: Pixels) -> None:
    loads: asyncio.Queue[Load] = asyncio.Queue()
    ear, worker.on_load = Ear(), loads.put_nowait
    worker.open("a", SMALL, PENCIL, 1, ear)
    worker.submit("a", Frame(picture, received_s=12.5))
    assert (await soon(ear.outputs)).received_s == 12.5
    while not (load := await soon(loads)).spent:
        pass
    worker.on_load = None
    assert load.spent["a"].frames == 1 and 0 < load.spent["a"].seconds < load.window_s
    [device] = worker.devices
    assert (device.name, device.ready, device.sessions) == ("cpu", True, {"a"})
    assert 0 < device.busy < 1
    assert device.memory_bytes == load.memory_bytes > 50e6  # torch alone takes more
    worker.close("a")


async def test_a_worker_that_keeps_dying_is_given_up_and_says_so(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgen.server.restarts._ALLOWED", 0)
    given_up: asyncio.Queue[StreamgenError] = asyncio.Queue()
    worker = Worker(config, given_up.put_nowait)
    await worker.start()
    assert worker._current is not None and worker._current.process.pid is not None
    os.kill(worker._current.process.pid, signal.SIGKILL)
    assert (await soon(given_up)).code == "worker_keeps_dying"
    await worker.stop()


async def test_a_stopped_worker_leaves_no_process_and_no_shared_memory(config: ServerConfig, picture: Pixels) -> None:
    worker, ear = Worker(config), Ear()
    await worker.start()
    worker.open("a", SMALL, PENCIL, 1, ear)
    worker.submit("a", Frame(picture))
    await soon(ear.outputs)
    session, current = worker._sessions["a"], worker._current
    assert current is not None
    await worker.stop()
    assert not current.process.is_alive()
    for slot in (session.inbox, session.outbox):
        with pytest.raises(FileNotFoundError):
            SharedMemory(slot.name)


async def test_missing_weights_keep_the_worker_from_starting(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file"):
        await Worker(ServerConfig(weights=tmp_path / "none.safetensors")).start()


async def test_a_missing_device_keeps_the_worker_from_starting() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(BackendUnavailable, match="device cuda cannot be used: torch finds no CUDA device"):
        await Worker(ServerConfig(device="cuda")).start()


async def test_an_unavailable_backend_keeps_the_worker_from_starting(config: ServerConfig) -> None:
    with pytest.raises(BackendUnavailable):
        await Worker(ServerConfig(weights=config.weights, backend="warp")).start()
