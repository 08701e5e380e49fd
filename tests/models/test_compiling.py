"""What compilers get: networks that are one graph from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from streamgen.backends.eager import cast_network
from streamgen.config import ModelSpec
from streamgen.engine.executables import example_inputs
from streamgen.models import load_model
from streamgen.models.diffusion import DiffusionModel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
SIDE = 64


@pytest.mark.parametrize("family", ["sd_turbo", "sd_lcm", "sdxl_turbo", "sana"])
@torch.inference_mode()
def test_every_network_is_one_graph_without_breaks(family: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(f"{family}_folder")
    model = load_model(ModelSpec(family=str(folder), dtype="float32", vae="full"))
    assert isinstance(model, DiffusionModel)
    side = 128 if family == "sana" else SIDE
    for part, network in (("encode", model.encoder), ("denoise", model.network), ("decode", model.decoder)):
        example = example_inputs(model, 1, side, side, part)
        torch._dynamo.reset()
        compiled = torch.compile(cast_network(network, "float32"), backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(compiled(*example), network(*example), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_network_with_loras_is_one_graph_and_takes_their_weights_as_values(
    sd_turbo_folder: Path, lora_file: Path
) -> None:
    from streamgen.config import LoraSpec

    spec = ModelSpec(family=str(sd_turbo_folder), dtype="float32", vae="full", loras=(LoraSpec("ink", str(lora_file)),))
    model = load_model(spec)
    x_t, t, *cond = example_inputs(model, 1, SIDE, SIDE)
    x_t = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1))
    torch._dynamo.reset()
    compiled = torch.compile(cast_network(model.network, "float32"), backend="eager", fullgraph=True, dynamic=False)
    at = model.conditioning_names.index("lora")
    made = []
    with torch._dynamo.config.patch(error_on_recompile=True):
        for weight in (0.0, 0.5, 2.0):
            cond[at] = torch.full((1, 1), weight)
            made.append(compiled(x_t, t, *cond))
            torch.testing.assert_close(made[-1], model.network(x_t, t, *cond), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(made[0], made[2])
