"""The logic around a CUDA graph, driven by a recorder whose replay runs the function again on the same buffers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor

from streamgen.backends.static_buffers import StaticFunction


class FakeFence:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def mark(self) -> None:
        self.log.append("mark")

    def wait(self) -> None:
        self.log.append("wait")


class FakeRecorder:
    """Records on the CPU: a replay computes again and writes into the tensors of the recording, as a graph does.

    uint8 tensors count as remote, everything else as being on the device.
    """

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.log: list[str] = []
        self.host_buffers: list[Tensor] = []

    def record(
        self, compute: Callable[[], tuple[Tensor, ...]], exclusive: AbstractContextManager[object]
    ) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        compute()
        with exclusive:
            results = tuple(tensor.clone() for tensor in compute())

        def replay() -> None:
            self.log.append("replay")
            for kept, tensor in zip(results, compute(), strict=True):
                kept.copy_(tensor)

        return replay, results

    def is_remote(self, tensor: Tensor) -> bool:
        return tensor.dtype == torch.uint8

    def host_buffer(self, like: Tensor) -> Tensor:
        self.host_buffers.append(torch.empty_like(like))
        return self.host_buffers[-1]

    def fence(self) -> FakeFence:
        return FakeFence(self.log)


class Copies:
    """Counts what is copied into buffers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = Tensor.copy_

        def counted(into: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
            self.count += 1
            return real(into, source, non_blocking)

        monkeypatch.setattr(Tensor, "copy_", counted)

    def during(self, call: Callable[[], object]) -> int:
        before = self.count
        call()
        return self.count - before


def add(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    return (x + y,)


def recorded(recorder: FakeRecorder | None = None) -> StaticFunction:
    return StaticFunction(add, (torch.zeros(2, 3), torch.zeros(2, 3)), recorder or FakeRecorder(), nullcontext())


def test_a_replay_computes_with_the_arguments_of_the_call() -> None:
    function = recorded()
    for value in (1.0, 2.0):
        [result] = function(torch.full((2, 3), value), torch.ones(2, 3))
        assert (result == value + 1).all()


def test_results_are_overwritten_by_the_next_replay() -> None:
    function = recorded()
    [first] = function(torch.ones(2, 3), torch.ones(2, 3))
    [second] = function(torch.zeros(2, 3), torch.zeros(2, 3))
    assert first is second
    assert (first == 0).all()


def test_two_recorded_functions_do_not_share_their_buffers() -> None:
    recorder = FakeRecorder()
    one, two = recorded(recorder), recorded(recorder)
    [of_one] = one(torch.ones(2, 3), torch.ones(2, 3))
    two(torch.zeros(2, 3), torch.zeros(2, 3))
    assert (of_one == 2).all()


def test_arguments_are_copied_and_may_be_changed_after_the_call() -> None:
    function = recorded()
    x = torch.ones(2, 3)
    [result] = function(x, torch.ones(2, 3))
    x.fill_(9)
    assert (result == 2).all()


def test_an_argument_that_has_not_changed_is_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    function = recorded()
    x, y = torch.ones(2, 3), torch.ones(2, 3)
    function(x, y)
    copies = Copies(monkeypatch)
    copied = copies.during(lambda: function(x, y))
    assert copied == 1  # the fake recorder's own result


def test_a_view_made_anew_of_an_unchanged_tensor_is_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    function = StaticFunction(add, (torch.zeros(1, 3), torch.zeros(1, 3)), FakeRecorder(), nullcontext())
    x, y = torch.ones(3), torch.ones(3)
    function(x[None], y[None])
    copies = Copies(monkeypatch)
    with torch.inference_mode():
        assert copies.during(lambda: function(x[None], y[None])) == 1
    other = torch.arange(6.0).view(2, 3)
    assert (function(other[:1], y[None])[0] == torch.tensor([1.0, 2.0, 3.0])).all()
    assert (function(other[1:], y[None])[0] == torch.tensor([4.0, 5.0, 6.0])).all()


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, nullcontext])
def test_an_argument_that_was_written_to_is_copied_again(mode: Callable[[], AbstractContextManager[object]]) -> None:
    function = recorded()
    x, y = torch.ones(2, 3), torch.ones(2, 3)
    function(x, y)
    with mode():
        x.mul_(5)
        assert (function(x, y)[0] == 6).all()
        x.view(-1)[0] = 0  # through a view
        assert function(x, y)[0][0, 0] == 1


def test_a_tensor_made_in_inference_mode_is_always_copied_because_nothing_counts_its_changes() -> None:
    function = recorded()
    with torch.inference_mode():
        x = torch.ones(2, 3)
        function(x, x)
        x.fill_(4)
        assert (function(x, x)[0] == 8).all()


def test_a_tensor_in_memory_that_another_one_left_is_copied() -> None:
    function = recorded()
    y = torch.zeros(2, 3)
    for value in range(20):  # each may land where the one before was
        assert (function(torch.full((2, 3), float(value)), y)[0] == value).all()


def test_an_argument_whose_data_was_exchanged_is_copied_again() -> None:
    function = recorded()
    x, y = torch.ones(2, 3), torch.zeros(2, 3)
    function(x, y)
    x.data = torch.full((2, 3), 7.0)
    assert (function(x, y)[0] == 7).all()


def test_what_lies_in_the_hosts_memory_is_staged_and_always_copied_because_numpy_may_have_written_to_it() -> None:
    recorder = FakeRecorder()
    function = StaticFunction(add, (torch.zeros(2, dtype=torch.uint8),) * 2, recorder, nullcontext())
    pixels = torch.zeros(2, dtype=torch.uint8)
    assert function(pixels, pixels)[0].tolist() == [0, 0]
    pixels.numpy()[:] = 3
    assert function(pixels, pixels)[0].tolist() == [6, 6]
    assert len(recorder.host_buffers) == 2, "one for each argument, made once"


def test_a_host_buffer_is_not_written_before_the_device_has_read_it_and_no_replay_is_waited_for() -> None:
    recorder = FakeRecorder()
    function = recorded(recorder)
    recorder.log.clear()
    function(torch.ones(2, 3), torch.ones(2, 3))
    assert recorder.log == ["wait", "mark", "replay"]


def test_an_argument_may_come_from_the_host_once_and_from_the_device_the_next_time() -> None:
    function = StaticFunction(add, (torch.zeros(2), torch.zeros(2)), FakeRecorder(), nullcontext())
    on_device, on_host = torch.full((2,), 5.0), torch.full((2,), 2, dtype=torch.uint8)
    zeros = torch.zeros(2)
    for wanted in (5.0, 2.0, 5.0):
        given = on_device if wanted == 5 else on_host
        assert (function(given, zeros)[0] == wanted).all()


def test_arguments_of_another_shape_or_number_are_refused() -> None:
    function = recorded()
    with pytest.raises(ValueError, match=r"recorded for the shape \(2, 3\), got \(1, 3\)"):
        function(torch.ones(1, 3), torch.ones(2, 3))  # copy_ would have repeated the row
    with pytest.raises(ValueError, match="zip"):
        function(torch.ones(2, 3))
