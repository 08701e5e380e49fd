"""A tiny Stable Diffusion behind the real engine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamgen import devices
from streamgen.backends.eager import EagerBackend
from streamgen.config import ModelSpec
from streamgen.engine import build_engine
from streamgen.engine.engine import Engine
from streamgen.engine.select import BackendReport
from streamgen.errors import SettingsError
from streamgen.frames import Frame, Output, Pixels
from streamgen.models import load_model
from streamgen.settings import BlendEntry, FrameFormat, StreamSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SMALL = FrameFormat(width=128, height=128)


@pytest.fixture(scope="module")
def engine(sd_turbo_folder: Path) -> Iterator[Engine]:
    model = load_model(ModelSpec(family=str(sd_turbo_folder), dtype="float32", vae="full"))
    backend = EagerBackend("cpu", "float32", 1)
    engine = Engine(model, backend, BackendReport("eager", "float32", ""), 8, wait_for_compilation=True)
    yield engine
    engine.close_all()


def pixels_of(engine: Engine, session: str, frame: Frame, now_s: float = 0.0) -> Pixels:
    [(_, made)] = engine.step([(session, frame)], now_s)
    assert isinstance(made, Output)
    return made.pixels


def test_a_prompt_stream_shows_what_diffusers_makes_of_the_prompt(engine: Engine, sd_turbo_folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    engine.open("a", SMALL, StreamSettings(prompt="a red city", source="prompt", seed=5, steps=2, strength=0.3))
    made = pixels_of(engine, "a", engine.dream("a", 0, 0.0))
    pipe = StableDiffusionPipeline.from_pretrained(sd_turbo_folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    [wanted] = pipe(
        prompt="a red city",
        width=128,
        height=128,
        num_inference_steps=2,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images
    assert np.abs(made.astype(float) - 255 * wanted).max() <= 1.0


def test_a_prompt_stream_does_not_look_at_frames(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(prompt="ink", source="prompt"))
    np.testing.assert_array_equal(
        pixels_of(engine, "a", engine.dream("a", 0, 0.0)), pixels_of(engine, "a", Frame(picture))
    )


def test_guidance_of_a_prompt_stream_steers_away_from_the_negative_prompt(engine: Engine) -> None:
    settings: dict[str, Any] = {"prompt": "ink", "source": "prompt", "guidance": 2.0, "negative_prompt": "red"}
    for mode in ("self", "full"):
        engine.open(mode, SMALL, StreamSettings(**settings, guidance_mode=mode))
    by_itself, full = (pixels_of(engine, mode, engine.dream(mode, 0, 0.0)) for mode in ("self", "full"))
    np.testing.assert_array_equal(by_itself, full)


def test_sessions_of_every_kind_share_a_step_and_none_sees_another(engine: Engine, picture: Pixels) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "plain": {"prompt": "a cat"},
        "two steps": {"prompt": "ink", "steps": 2, "strength": 0.6},
        "guided": {
            "prompt": "red",
            "guidance": 2.0,
            "guidance_mode": "full",
            "negative_prompt": "ink",
            "strength": 0.5,
        },
        "dreams": {"prompt": "city", "source": "prompt"},
        "untouched": {"strength": 0.0},
    }
    for name, settings in kinds.items():
        engine.open(name, SMALL, StreamSettings(**settings))
    alone = {name: pixels_of(engine, name, Frame(picture)) for name in kinds}
    together = engine.step([(name, Frame(picture)) for name in kinds], 0.0)
    for name, made in together:
        assert isinstance(made, Output)
        assert np.abs(made.pixels.astype(int) - alone[name].astype(int)).max() <= 1, name
    np.testing.assert_array_equal(alone["untouched"], picture)


@pytest.mark.parametrize("family", ["sd_turbo", "sd_lcm", "sdxl_turbo", "sana"])
def test_all_that_steers_can_be_mixed(family: str, request: pytest.FixtureRequest) -> None:
    model = load_model(ModelSpec(family=str(request.getfixturevalue(f"{family}_folder")), dtype="float32", vae="full"))
    cond = model.encode_prompt("a cat", {}) | model.live_conditioning(StreamSettings())
    assert all(tensor.is_floating_point() for tensor in cond.values())


def test_random_settings_compile_nothing(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    engine.prepare(SMALL)
    compiled, chance = engine.compilations, random.Random(3)
    for rev in range(40):
        settings = StreamSettings(
            prompt=chance.choice(["a cat", "(ink:1.4) city", ""]),
            negative_prompt=chance.choice(["", "red"]),
            prompts_blend=tuple(
                BlendEntry(prompt=chance.choice(["oil", "ink"]), weight=chance.random() + 0.1) for _ in range(rev % 3)
            ),
            guidance=chance.choice([0.0, 1.0, 2.5]),
            guidance_mode=chance.choice(["self", "onetime", "full"]),
            strength=chance.random(),
            steps=chance.randint(1, 4),
            stream_batch=chance.random() < 0.3,
            feedback=chance.choice([0.0, 0.5]),
            seed=chance.randrange(2**32),
            seed_speed=chance.choice([0.0, 2.0]),
            source=chance.choice(["frames", "prompt"]),
        )
        engine.update("a", settings, rev, now_s=float(rev))
        engine.step([("a", Frame(picture, rev))], float(rev))
    assert engine.compilations == compiled


def test_a_checkpoint_named_on_the_command_line_is_built_at_its_own_size_and_says_what_computes(
    sd_turbo_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="streamgen")
    engine = build_engine(ModelSpec(family=str(sd_turbo_folder), dtype="float32", vae="full"), threads=1)
    assert (engine.model.spec.width, engine.model.spec.height) == (512, 512)
    assert engine.report.chosen == "eager"
    assert "cuda-graph not measured: it is for CUDA devices" in " ".join(caplog.text.split())
    assert "licence: not stated by its maker" in caplog.text
    engine.close_all()


def test_a_model_that_is_let_go_gives_its_memory_back(sd_turbo_folder: Path) -> None:
    import weakref

    engine = build_engine(ModelSpec(family=str(sd_turbo_folder), dtype="float32", vae="full"), threads=1)
    engine.open("a", SMALL, StreamSettings())
    network, encoder = weakref.ref(engine.model.network), weakref.ref(engine.model.encoder)
    engine.close_all()
    del engine
    devices.give_back_memory("cpu")
    assert network() is None and encoder() is None


def test_a_reference_picture_steers_its_own_session_until_it_is_taken_away(
    sd_turbo_folder: Path, ip_adapter_file: Path, picture: Pixels
) -> None:
    spec = ModelSpec(family=str(sd_turbo_folder), dtype="float32", vae="full", ip_adapter=str(ip_adapter_file))
    backend = EagerBackend("cpu", "float32", 1)
    engine = Engine(load_model(spec), backend, BackendReport("eager", "float32", ""), 4, wait_for_compilation=True)
    for session in ("refers", "plain"):
        engine.open(session, SMALL, StreamSettings(prompt="a cat", reference_scale=1.0))
    engine.refer("refers", 255 - picture)
    (_, refers), (_, plain) = engine.step([("refers", Frame(picture)), ("plain", Frame(picture))], 0.0)
    assert isinstance(refers, Output) and isinstance(plain, Output)
    assert np.abs(refers.pixels.astype(int) - plain.pixels.astype(int)).max() > 1
    engine.refer("refers", None)
    np.testing.assert_array_equal(pixels_of(engine, "refers", Frame(picture)), plain.pixels)
    engine.close_all()


def test_a_model_that_takes_no_reference_says_so(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    with pytest.raises(SettingsError, match="takes no reference picture"):
        engine.refer("a", picture)
