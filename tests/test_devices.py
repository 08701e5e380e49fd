from __future__ import annotations

import pytest
import torch

from streamgen import devices


def test_a_device_that_is_not_there_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.unavailable("cpu") is None
    assert devices.unavailable("cuda") == "torch finds no CUDA device"
    assert devices.unavailable("tpu") == "torch knows no device called tpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.unavailable("cuda:1") is None
    assert devices.unavailable("cuda:2") == "torch finds 2 devices of this kind, counted from 0"


def test_auto_takes_a_gpu_where_there_is_one_and_a_name_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, chosen in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert devices.choose("auto") == chosen
        assert devices.choose("cpu") == "cpu"
        assert devices.choose("cuda:1") == "cuda:1"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (ValueError("CUDA error"), False),
    ],
)
def test_a_device_is_lost_by_what_a_process_does_not_survive(error: Exception, lost: bool) -> None:
    assert devices.is_lost(error) is lost


def test_numbers_reach_the_device_in_their_shape() -> None:
    assert devices.upload([[1.0, 2.0], [3.0, 4.0]], "cpu").tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert devices.upload([0.5], "cpu").dtype == torch.float32
