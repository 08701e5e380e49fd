"""Every family and sampler against diffusers' own pipelines, on tiny random weights, in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from streamgen.config import ModelSpec
from streamgen.engine.sampler import SAMPLERS, Guidance, Lanes, sample
from streamgen.engine.state import session_noise
from streamgen.models import load_model
from streamgen.models.diffusion import DiffusionModel
from streamgen.settings import StreamSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of diffusers' own

MOST_DIFFERENCE = 2e-3
SIDE, SEED = 128, 7
PROMPT, NEGATIVE = "a cat in a hat", "blurry"


def load(folder: Path, **options: Any) -> DiffusionModel:
    spec = ModelSpec(family=str(folder), width=SIDE, height=SIDE, dtype="float32", vae="full", **options)
    model = load_model(spec)
    assert isinstance(model, DiffusionModel)
    return model


def source_latents(model: DiffusionModel) -> Tensor:
    """Of a picture's usual spread; given to diffusers as they are, because its pipelines sample the encoder."""
    shape = model.latent_shape(SIDE, SIDE)
    return 0.8 * torch.randn((1, *shape), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def ours(model: DiffusionModel, settings: StreamSettings, source: Tensor | None) -> Tensor:
    """What the engine computes for one session, without the rounding to uint8: pixels [1, 3, H, W]."""
    shape = model.latent_shape(SIDE, SIDE)
    noise = session_noise(settings.seed, 4, shape, "cpu")[None]
    levels = torch.tensor([model.schedule.timesteps(settings.steps, settings.strength)])
    count = levels.shape[1]
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    made_from = model.source_conditioning(pixels, torch.zeros(1, *shape))
    live = model.live_conditioning(settings)
    conds = [
        {name: tensor[None] for name, tensor in (model.encode_prompt(text, model.loras) | live).items()} | made_from
        for text in (settings.prompt, settings.negative_prompt)
    ]

    def denoise(x_t: Tensor, t: Tensor, rows: Any) -> Tensor:
        given = {name: torch.cat([conds[row][name] for row in rows]) for name in model.conditioning_names}
        return model.denoise(x_t, t, given)

    x_t = model.schedule.start(source, noise[:, 0], levels[:, 0])
    scale = 1.0 if model.guides_itself else settings.guidance or model.default_guidance
    guidance = Guidance(torch.tensor([scale]), [settings.guidance_mode], x_t if source is None else source)
    lanes = Lanes(x_t, levels, [count], noise, guidance)
    latents, _ = sample(denoise, model.schedule, SAMPLERS[model.sampler], lanes)
    return model.decode_image(latents)


def assert_same_picture(made: Tensor, wanted: Any) -> None:
    wanted = torch.as_tensor(np.asarray(wanted)).permute(0, 3, 1, 2)  # [1, 3, H, W] in [0, 1]
    assert float(wanted.std()) > 0.01, "the reference shows nothing"
    difference = float((made / 2 + 0.5 - wanted).clamp(-1, 1)[(wanted > 0) & (wanted < 1)].abs().max())
    assert difference <= MOST_DIFFERENCE


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


@pytest.fixture
def reference() -> Callable[[Path, str], Any]:
    def load_reference(folder: Path, kind: str) -> Any:
        import diffusers

        pipe = getattr(diffusers, kind).from_pretrained(folder, dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return load_reference


STRENGTHS = [(1, 1.0), (2, 1.0), (4, 1.0), (1, 0.5), (2, 0.5), (3, 0.75)]


@pytest.mark.parametrize(("steps", "strength"), STRENGTHS)
@pytest.mark.parametrize("family", ["sd_turbo", "sd_v", "sdxl_turbo"])
def test_turbo_pictures_are_diffusers_pictures(
    family: str, steps: int, strength: float, request: pytest.FixtureRequest, reference: Callable[[Path, str], Any]
) -> None:
    folder = request.getfixturevalue(f"{family}_folder")
    model = load(folder)
    source = source_latents(model)
    made = ours(model, StreamSettings(prompt=PROMPT, steps=steps, strength=strength, seed=SEED), source)
    pipe = reference(folder, "AutoPipelineForImage2Image")
    if family == "sd_v":
        # What it names is spaced for fifty steps, and ends at the lowest level it was trained on instead of at x_0.
        config = pipe.scheduler.config
        pipe.scheduler = type(pipe.scheduler).from_config(config, timestep_spacing="trailing", set_alpha_to_one=True)
    wanted = pipe(
        prompt=PROMPT,
        image=source,
        strength=strength,
        num_inference_steps=round(steps / strength),
        guidance_scale=0.0,
        generator=generator(),
        output_type="np",
        **sizes(family),
    ).images
    assert_same_picture(made, wanted)


def sizes(family: str) -> dict[str, Any]:
    return {"original_size": (SIDE, SIDE), "target_size": (SIDE, SIDE)} if family.startswith("sdxl") else {}


@pytest.mark.parametrize(("steps", "strength"), STRENGTHS)
def test_latent_consistency_pictures_are_diffusers_pictures(
    steps: int, strength: float, sd_lcm_folder: Path, reference: Callable[[Path, str], Any]
) -> None:
    model = load(sd_lcm_folder)
    source = source_latents(model)
    settings = StreamSettings(prompt=PROMPT, steps=steps, strength=strength, seed=SEED, guidance=7.5)
    wanted = reference(sd_lcm_folder, "LatentConsistencyModelImg2ImgPipeline")(
        prompt=PROMPT,
        image=source,
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=7.5,
        generator=generator(),
        output_type="np",
    ).images
    assert_same_picture(ours(model, settings, source), wanted)


@pytest.mark.parametrize(("sampler", "scheduler"), [("lcm", "LCMScheduler"), ("ddim", "DDIMScheduler")])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_sampler_that_was_asked_for_makes_diffusers_pictures_from_text_alone(
    sampler: str, scheduler: str, steps: int, sd_turbo_folder: Path, reference: Callable[[Path, str], Any]
) -> None:
    import diffusers

    model = load(sd_turbo_folder, sampler=sampler)
    pipe = reference(sd_turbo_folder, "AutoPipelineForText2Image")
    more = {"timestep_spacing": "trailing"} if sampler == "ddim" else {}
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config, clip_sample=False, **more)
    wanted = pipe(
        prompt=PROMPT,
        width=SIDE,
        height=SIDE,
        num_inference_steps=steps,
        guidance_scale=0.0,
        generator=generator(),
        output_type="np",
    ).images
    assert_same_picture(ours(model, StreamSettings(prompt=PROMPT, steps=steps, seed=SEED), None), wanted)


@pytest.mark.parametrize("family", ["sd_turbo", "sdxl_turbo"])
def test_full_guidance_is_diffusers_classifier_free_guidance(
    family: str, request: pytest.FixtureRequest, reference: Callable[[Path, str], Any]
) -> None:
    folder = request.getfixturevalue(f"{family}_folder")
    model = load(folder)
    source = source_latents(model)
    settings = StreamSettings(
        prompt=PROMPT, negative_prompt=NEGATIVE, guidance=2.5, guidance_mode="full", steps=2, seed=SEED
    )
    wanted = reference(folder, "AutoPipelineForImage2Image")(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        image=source,
        strength=1.0,
        num_inference_steps=2,
        guidance_scale=2.5,
        generator=generator(),
        output_type="np",
        **sizes(family),
    ).images
    assert_same_picture(ours(model, settings, source), wanted)


@pytest.mark.parametrize(("steps", "strength"), [(1, 1.0), (2, 1.0), (4, 1.0), (1, 1.3 / 1.5708)])
def test_sana_sprint_pictures_are_diffusers_pictures(
    steps: int, strength: float, sana_folder: Path, reference: Callable[[Path, str], Any]
) -> None:
    model = load(sana_folder)
    pixels = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        source = model.encode_image(pixels)
    partial = strength < 1  # diffusers cuts levels off: the second of two is 1.3
    wanted = reference(sana_folder, "SanaSprintImg2ImgPipeline")(
        prompt=PROMPT,
        image=pixels,
        strength=0.5 if partial else 1.0,
        width=SIDE,
        height=SIDE,
        num_inference_steps=2 if partial else steps,
        intermediate_timesteps=1.3 if partial or steps == 2 else None,
        use_resolution_binning=False,
        generator=generator(),
        output_type="np",
    ).images
    assert_same_picture(
        ours(model, StreamSettings(prompt=PROMPT, steps=steps, strength=strength, seed=SEED), source), wanted
    )


@torch.inference_mode()
@pytest.mark.parametrize("family", ["sd_turbo", "sd_lcm", "sdxl_turbo", "sana"])
def test_a_row_does_not_depend_on_its_neighbours(family: str, request: pytest.FixtureRequest) -> None:
    model = load(request.getfixturevalue(f"{family}_folder"))
    shape = model.latent_shape(SIDE, SIDE)
    settings = [StreamSettings(prompt=prompt, guidance=scale) for prompt, scale in (("a cat", 1), ("ink", 3), ("", 8))]
    conds = [model.encode_prompt(one.prompt, {}) | model.live_conditioning(one) for one in settings]
    latents = torch.randn((3, *shape), generator=torch.Generator().manual_seed(2))
    highest = model.schedule.timesteps(1, 1.0)[0]
    t = torch.tensor([highest, 0.5 * highest, 0.25 * highest]).floor() if highest > 2 else torch.tensor([1.5, 0.9, 0.3])
    made_from = model.source_conditioning(torch.zeros(3, 3, SIDE, SIDE), latents)
    cond = {name: torch.stack([one[name] for one in conds]) for name in conds[0]} | made_from
    together = model.denoise(latents, t, cond)
    for row in range(3):
        one = slice(row, row + 1)
        alone = model.denoise(latents[one], t[one], {name: tensor[one] for name, tensor in cond.items()})
        assert float((together[one] - alone).abs().max()) <= 1e-3
