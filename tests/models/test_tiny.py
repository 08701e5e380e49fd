import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from streamgen.config import ModelSpec
from streamgen.errors import WeightsError
from streamgen.models.int8_graph import graph_file, write_graph
from streamgen.models.schedules import TrigFlowSchedule
from streamgen.models.tiny import TinyModel, evenly_spaced
from streamgen.models.tiny_unet import STYLE_WIDTH, TinyUNet
from streamgen.models.tiny_weights import load_network, save_network
from streamgen.settings import StreamSettings

NAMES = ["pencil", "neon", "van gogh"]
FULL = torch.ones(1, 1)


@pytest.fixture(autouse=True)
def one_thread_and_one_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def network() -> TinyUNet:
    return TinyUNet(styles=len(NAMES)).eval().requires_grad_(False)


@pytest.fixture
def model(network: TinyUNet) -> TinyModel:
    return TinyModel(ModelSpec(), network, NAMES)


def noisy(batch: int = 1, height: int = 128, width: int = 128) -> tuple[Tensor, Tensor, Tensor]:
    shape = (batch, 3, height, width)
    return torch.randn(shape), torch.rand(shape) * 2 - 1, torch.randn(batch, STYLE_WIDTH)


def test_at_the_last_timestep_the_picture_comes_back_exactly(network: TinyUNet) -> None:
    x_t, source, style = noisy()
    assert torch.equal(network(x_t, torch.zeros(1), FULL, style, source), x_t)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (160, 224), (128, 512)])
def test_every_size_in_multiples_of_32_keeps_its_shape(network: TinyUNet, height: int, width: int) -> None:
    x_t, source, style = noisy(height=height, width=width)
    x_0 = network(x_t, torch.tensor([1.0]), FULL, style, source)
    assert x_0.shape == x_t.shape
    assert x_0.isfinite().all()


def test_rows_of_a_batch_do_not_see_each_other(network: TinyUNet) -> None:
    x_t, source, style = noisy(batch=2)
    t = torch.tensor([math.pi / 2, 0.4])
    strength = torch.tensor([[1.0], [0.3]])
    together = network(x_t, t, strength, style, source)
    alone = network(x_t[1:], t[1:], strength[1:], style[1:], source[1:])
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)


def test_a_flat_frame_gives_finite_pixels_in_bfloat16(network: TinyUNet) -> None:
    half = network.to(torch.bfloat16)
    flat, style = torch.zeros(1, 3, 128, 128, dtype=torch.bfloat16), torch.randn(1, STYLE_WIDTH).bfloat16()
    assert half(flat, torch.tensor([math.pi / 2]), FULL, style, flat).isfinite().all()


def test_the_filters_behind_one_cell_of_the_pixel_shuffle_start_alike(network: TinyUNet) -> None:
    cells = network.head.weight.unflatten(0, (-1, 16))
    assert torch.equal(cells, cells[:, :1].expand_as(cells))
    assert not torch.equal(cells[0], cells[1])


def test_weights_survive_the_file(network: TinyUNet, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_network(network, NAMES, path)
    loaded, names = load_network(path)
    assert names == NAMES
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, atol=1e-3, rtol=1e-3)
    assert path.stat().st_size < 12_000_000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file at .*nothing\.safetensors") as caught:
        load_network(tmp_path / "nothing.safetensors")
    assert caught.value.code == "weights_missing"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def not_safetensors(path: Path) -> None:
    path.write_bytes(b"not a tensor in sight" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_format(path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, path)


def of_another_network(path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, path, {"format": "streamgen.tiny", "version": "1", "styles": '["pencil"]'})


def with_broken_style_names(path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, path, {"format": "streamgen.tiny", "version": "1", "styles": "{"})


@pytest.mark.parametrize(
    "spoil", [truncated, not_safetensors, empty, of_another_format, of_another_network, with_broken_style_names]
)
def test_a_corrupt_file_is_refused(spoil: Callable[[Path], None], network: TinyUNet, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_network(network, NAMES, path)
    spoil(path)
    with pytest.raises(WeightsError) as caught:
        TinyModel.load(ModelSpec(weights=path))
    assert caught.value.code == "weights_corrupt"
    assert "\n" not in caught.value.message


def test_an_int8_graph_is_used_beside_the_weights_it_was_made_of_and_no_others(
    network: TinyUNet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_network(network, NAMES, weights)
    assert TinyModel.load(ModelSpec(weights=weights)).network.quantised is None
    graph = write_graph(weights, network, lambda path: path.write_text("<net/>"))
    assert TinyModel.load(ModelSpec(weights=weights)).network.quantised == graph == graph_file(weights)
    save_network(network, ["a", "b", "c"], weights)
    assert TinyModel.load(ModelSpec(weights=weights)).network.quantised == graph
    assert not caplog.records
    save_network(TinyUNet(styles=len(NAMES)), NAMES, weights)
    assert TinyModel.load(ModelSpec(weights=weights)).network.quantised is None
    assert "is not of these weights" in caplog.text


@pytest.mark.parametrize("note", [None, "{", "[]", '{"other": 1}'])
def test_an_int8_graph_that_nobody_vouches_for_is_left_out(note: str | None, network: TinyUNet, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_network(network, NAMES, weights)
    graph_file(weights).write_text("<net/>")
    if note is not None:
        graph_file(weights).with_suffix(".json").write_text(note)
    assert TinyModel.load(ModelSpec(weights=weights)).network.quantised is None


def test_a_prompt_is_the_weighted_sum_of_style_vectors(model: TinyModel) -> None:
    style = model.encode_prompt("pencil:0.75 neon:0.25", {})["style"]
    table = model.network.styles
    torch.testing.assert_close(style, 0.75 * table[0] + 0.25 * table[1])


def test_a_style_that_the_weights_lack_goes_to_the_nearest_that_they_have(model: TinyModel) -> None:
    reading = model.read_prompt("charcoal")
    assert reading.styles == {"pencil": 1.0}
    assert reading.understood < 0.5


def test_conditioning_carries_everything_that_the_network_takes(model: TinyModel) -> None:
    x_t, source, _ = noisy()
    alone = model.encode_prompt("neon", {}) | model.live_conditioning(StreamSettings(strength=0.5))
    cond = {name: value[None] for name, value in alone.items()} | model.source_conditioning(source, source)
    assert set(cond) == set(model.conditioning_names)
    assert model.denoise(x_t, torch.tensor([1.0]), cond).shape == (1, *model.latent_shape(128, 128))


def test_pixels_are_their_own_latents(model: TinyModel) -> None:
    pixels = torch.rand(1, 3, 128, 128) * 2 - 1
    assert torch.equal(model.decode_image(model.encode_image(pixels)), pixels)


def test_the_schedule_keeps_the_variance() -> None:
    schedule, t = TrigFlowSchedule(evenly_spaced), torch.linspace(0, math.pi / 2, 9)
    torch.testing.assert_close(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones(9))


def test_timesteps_fall_from_the_strength_and_end_above_zero() -> None:
    assert TrigFlowSchedule(evenly_spaced).timesteps(1, 1.0) == [math.pi / 2]
    assert TrigFlowSchedule(evenly_spaced).timesteps(2, 0.5) == pytest.approx([math.pi / 4, math.pi / 8])


def test_strength_zero_asks_for_no_step() -> None:
    assert TrigFlowSchedule(evenly_spaced).timesteps(4, 0.0) == []


def test_the_packaged_weights_load_and_know_their_styles() -> None:
    model = TinyModel.load(ModelSpec())
    assert len(model.styles) >= 20
    for name in model.styles:
        reading = model.read_prompt(name)
        assert (reading.understood, reading.styles) == (1.0, {name: 1.0})


def test_the_packaged_weights_give_every_style_its_own_look() -> None:
    model = TinyModel.load(ModelSpec())
    x = torch.linspace(-1, 1, 128)
    source = torch.stack([x[None].expand(128, 128), x[:, None].expand(128, 128), (x[None] * x[:, None] * 9).sin()])[
        None
    ]
    rows = len(model.styles)
    x_0 = model.network(
        torch.randn(1, 3, 128, 128).expand(rows, -1, -1, -1),
        torch.full((rows,), math.pi / 2),
        torch.ones(rows, 1),
        model.network.styles,
        source.expand(rows, -1, -1, -1),
    )
    distances = torch.cdist(x_0.flatten(1), x_0.flatten(1), p=1) / x_0[0].numel()
    assert distances[~torch.eye(rows, dtype=torch.bool)].min() > 0.05


def test_a_network_that_learnt_nothing_of_colour_yet_still_sees_the_frame(network: TinyUNet) -> None:
    x_t, source, style = noisy()
    t = torch.tensor([math.pi / 2])
    assert not torch.allclose(network(x_t, t, FULL, style, source), network(x_t, t, FULL, style, source.flip(3)))
