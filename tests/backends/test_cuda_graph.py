"""The order of events around a capture, against a stand-in for torch.cuda; what a real device does is marked gpu."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from streamgen.backends import cuda_graph
from streamgen.backends.cuda_graph import CudaGraphBackend, CudaRecorder
from streamgen.backends.static_buffers import StaticFunction

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


class Log(list[str]):
    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        self.append(f"enter {name}")
        try:
            yield
        finally:
            self.append(f"leave {name}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """torch.cuda, as far as the recorder uses it, that writes down what is asked of it."""
    log = Log()

    class Stream:
        def __init__(self, device: Any = None) -> None:
            pass

        def wait_stream(self, other: Any) -> None:
            log.append("wait for the default stream")

        def synchronize(self) -> None:
            log.append("synchronise the stream")

    class Event:
        def record(self, stream: Any) -> None:
            log.append("record event")

        def synchronize(self) -> None:
            log.append("wait for event")

    def graph(graph: Any, pool: Any, stream: Any, capture_error_mode: str) -> Any:
        return log.around(f"capture {pool} {capture_error_mode}")

    for name, stand_in in {
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: log.append("replay")),
        "graph": graph,
        "graph_pool_handle": lambda: "pool",
        "current_device": lambda: 0,
        "default_stream": lambda device: Stream(),
        "current_stream": lambda device: Stream(),
        "device": lambda device: log.around(str(device)),
        "stream": lambda stream: log.around("stream"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    clear = lambda: log.append("clear cuBLAS workspaces")  # noqa: E731
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", clear, raising=False)
    return log


def test_a_capture_warms_up_beside_others_and_records_while_it_is_alone(log: Log) -> None:
    recorder = CudaRecorder("cuda")

    def compute() -> tuple[Tensor, ...]:
        log.append("compute")
        return (torch.zeros(1),)

    replay, [result] = recorder.record(compute, log.around("lock"))
    assert log == [
        *("enter cuda:0", "enter stream", "wait for the default stream"),
        *["compute"] * 3,
        *("synchronise the stream", "leave stream", "leave cuda:0"),
        *("enter cuda:0", "enter lock", "clear cuBLAS workspaces", "enter stream", "enter capture pool thread_local"),
        "compute",
        *("leave capture pool thread_local", "leave stream", "clear cuBLAS workspaces", "leave lock", "leave cuda:0"),
    ]
    replay()
    assert log[-1] == "replay"
    assert result.shape == (1,)


def test_a_capture_that_fails_lets_go_of_the_lock_and_the_stream(log: Log) -> None:
    lock = threading.Lock()
    calls = iter(range(10))

    def compute() -> tuple[Tensor, ...]:
        if next(calls) == 3:
            raise RuntimeError("operation not permitted when stream is capturing")
        return ()

    with pytest.raises(RuntimeError, match="not permitted"):
        CudaRecorder("cuda:1").record(compute, lock)
    assert not lock.locked()
    assert log.count("enter stream") == log.count("leave stream")
    assert "enter cuda:1" in log


def test_uploads_are_fenced_by_an_event_on_the_stream_of_the_caller(log: Log) -> None:
    fence = CudaRecorder("cuda").fence()
    fence.wait()
    fence.mark()
    assert log == ["wait for event", "record event"]


def test_only_the_hosts_memory_is_staged(log: Log) -> None:
    recorder = CudaRecorder("cuda")
    assert recorder.is_remote(torch.zeros(1))
    assert not recorder.is_remote(torch.zeros(1, device="meta"))


def test_torch_accepts_the_options_for_its_compiler() -> None:
    options = dict(CudaGraphBackend.options)
    wrapper = torch._TorchCompileInductorWrapper(None, options, False)
    assert wrapper.config == options
    assert set(options) <= set(torch._inductor.list_options())


def test_without_triton_its_networks_stay_eager_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cuda_graph, "_triton_missing", lambda: "the package triton is not installed")
    backend = CudaGraphBackend("cpu", "float32", 1)
    assert "uncompiled and slower: the package triton is not installed" in caplog.text
    network = nn.Conv2d(3, 4, 3)
    x = torch.ones(1, 3, 8, 8)
    torch.testing.assert_close(backend.compile(network, (x,))(x), network(x))


@pytest.mark.parametrize(
    ("found", "which", "reason"),
    [
        (None, "cc", "the package triton is not installed"),
        ("triton", "cc", "triton cannot use this device"),
    ],
)
def test_what_triton_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, found: str | None, which: str, reason: str
) -> None:
    monkeypatch.setattr(cuda_graph, "find_spec", lambda name: found)
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: False)
    assert cuda_graph._triton_missing() == reason


def test_triton_without_a_compiler_or_headers_is_noticed_before_a_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "find_spec", lambda name: "triton")
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: True)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert cuda_graph._triton_missing() == "triton needs a C compiler on the PATH"
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/cc")
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    assert "Python's headers" in str(cuda_graph._triton_missing())


@needs_gpu
@pytest.mark.gpu
def test_a_graph_on_a_device_computes_takes_host_frames_and_is_not_disturbed_by_another_graph() -> None:
    recorder = CudaRecorder("cuda")

    def brighten(pixels: Tensor, amount: Tensor) -> tuple[Tensor, ...]:
        return ((pixels.float() + amount.view(-1, 1)).clamp(0, 255).to(torch.uint8),)

    example = (torch.zeros(2, 64, dtype=torch.uint8), torch.zeros(2))
    one = StaticFunction(brighten, example, recorder, nullcontext())
    two = StaticFunction(brighten, example, recorder, nullcontext())
    for value in range(50):
        pixels = torch.full((2, 64), value, dtype=torch.uint8)
        assert (one(pixels, torch.ones(2))[0].cpu() == value + 1).all()
        assert (two(pixels.cuda(), torch.zeros(2, device="cuda"))[0].cpu() == value).all()


@needs_gpu
@pytest.mark.gpu
def test_a_network_compiled_on_a_device_is_captured_and_keeps_its_results() -> None:
    network = nn.Sequential(nn.Conv2d(4, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 4, 1)).cuda()
    backend = CudaGraphBackend("cuda", "bfloat16", 1)
    x = torch.randn(1, 4, 64, 64, device="cuda")
    call = backend.compile(network, (x,))
    captured = backend.capture(lambda x: (call(x),), (x,), threading.Lock())
    with torch.inference_mode():
        wanted = network(x)
    assert float((captured(x)[0] - wanted).norm() / wanted.norm()) < 0.02
    assert float((captured(2 * x)[0] - network(2 * x)).norm() / wanted.norm()) < 0.05
