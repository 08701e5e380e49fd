from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from streamgen.errors import ConfigError, StreamgenError, WeightsError
from streamgen.models.checkpoint import Checkpoint, find_checkpoint, load_pipeline
from tests.models import pipelines

http = import_module(errors.HTTPError.__module__.partition(".")[0])  # httpx, or its successor
FAMILIES = {
    "sd_turbo_folder": "sd",
    "sd_lcm_folder": "sd",
    "sd_v_folder": "sd",
    "sdxl_turbo_folder": "sdxl",
    "sana_folder": "sana-sprint",
}


class Hub:
    """In the place of huggingface.co: what it holds, how it fails, and what was asked of it."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.holds: dict[str, Path] = {}
        self.failure: Exception | None = http.ConnectError("no route to host")
        self.timeouts: list[float | None] = []
        self.fetched: list[str] = []
        self._find_in_cache = huggingface_hub.snapshot_download

    def model_info(self, api: Any, repo: str, *, timeout: float | None = None) -> Any:
        self.timeouts.append(timeout)
        if self.failure is not None:
            raise self.failure
        files = [path for path in self.holds[repo].rglob("*") if path.is_file()]
        names = [str(path.relative_to(self.holds[repo])) for path in files]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    def hf_hub_download(self, repo: str, file: str, *, etag_timeout: float) -> str:
        return str(self.holds[repo] / file)

    def snapshot_download(
        self, repo: str, *, allow_patterns: list[str], local_files_only: bool = False, **_: Any
    ) -> str:
        if local_files_only:
            return self._find_in_cache(repo, allow_patterns=allow_patterns, local_files_only=True)
        files = [path.relative_to(self.holds[repo]) for path in self.holds[repo].rglob("*") if path.is_file()]
        chosen = [file for file in files if any(fnmatch(str(file), pattern) for pattern in allow_patterns)]
        self.fetched += map(str, chosen)
        return str(self.put_in_cache(repo, self.holds[repo], chosen))

    def put_in_cache(self, repo: str, source: Path, files: list[Path] | None = None) -> Path:
        commit = "0" * 40
        folder = self.cache / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        for file in files or [path.relative_to(source) for path in source.rglob("*") if path.is_file()]:
            target = folder / "snapshots" / commit / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, target)
        return folder / "snapshots" / commit


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty cache and a hub that cannot be reached."""
    fake = Hub(tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(fake.cache))
    monkeypatch.setattr(
        huggingface_hub.HfApi, "model_info", lambda api, repo, **given: fake.model_info(api, repo, **given)
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.hf_hub_download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    return fake


@pytest.fixture
def sd(sd_turbo_folder: Path, tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    return Path(shutil.copytree(sd_turbo_folder, tmp_path / "sd"))


def refusal(call: Callable[[], object], kind: type[StreamgenError], code: str) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code
    assert "\n" not in caught.value.message
    return caught.value.message


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def weights_of(folder: Path, part: str) -> Path:
    return next((folder / part).glob("*.safetensors"))


def save_header(file: Path, shapes: dict[str, list[int]], metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file whose tensors are a hole in the file: whoever reads them reads gigabytes of zeros."""
    entries: dict[str, Any] = {"__metadata__": metadata or {}}
    end = 0
    for name, shape in shapes.items():
        size = 2 * torch.Size(shape).numel()
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(entries).encode()
    with file.open("wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        opened.truncate(8 + len(header) + end)
    return file


def hub_error(kind: type[Exception], status: int) -> Exception:
    response = http.Response(status, request=http.Request("GET", "https://huggingface.co/api/models/maker/model"))
    return kind("refused", response=response)


# Folders


@pytest.mark.parametrize("fixture", FAMILIES)
def test_a_folder_is_known_by_its_pipeline(fixture: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(fixture)
    assert find_checkpoint(str(folder)) == Checkpoint(str(folder), FAMILIES[fixture], folder, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fixture", FAMILIES)
def test_a_pipeline_is_loaded_ready_to_run_and_without_a_word(
    fixture: str, dtype: torch.dtype, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = find_checkpoint(str(request.getfixturevalue(fixture)))
    capfd.readouterr()
    pipe = load_pipeline(checkpoint, dtype, "full")
    assert capfd.readouterr() == ("", "")
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert len(networks) >= 3
    for network in networks:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert {parameter.dtype for parameter in network.parameters()} == {dtype}


def test_the_libraries_speak_again_after_a_load(sd_turbo_folder: Path) -> None:
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    def state() -> list[object]:
        return [
            (library.get_verbosity(), library.is_progress_bar_enabled())
            for library in (diffusers_logging, transformers_logging)
        ]

    before = state()
    load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32, "full")
    assert state() == before


def test_a_safety_checker_is_not_loaded(sd: Path) -> None:
    edit(sd / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    edit(sd / "model_index.json", feature_extractor=["transformers", "CLIPImageProcessor"])
    pipe = load_pipeline(find_checkpoint(str(sd)), torch.float32, "full")
    assert pipe.safety_checker is None


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: openrail++\ntags:\n- a", "openrail++"),
        ("tags: [x]\nlicense: 'mit'", "mit"),
        ("license:\n- apache-2.0", "apache-2.0"),
        ("license: other\nlicense_name: sai-nc-community\nlicense_link: x", "sai-nc-community"),
        ("license: other", "other"),
        ("tags:\n- license", None),
        ("license:\nlanguage: en", None),
    ],
)
def test_the_licence_is_read_off_the_model_card(sd: Path, front: str, licence: str | None) -> None:
    (sd / "README.md").write_text(f"---\n{front}\n---\n# A model\nlicense: none of this\n")
    assert find_checkpoint(str(sd)).licence == licence


@pytest.mark.parametrize(
    "name", ["nonsense", "", "./not/here", "/not/here", "a/b/c", "a--b/c", "https://hub/a/b", "~nobody/x", "a" * 999]
)
def test_a_name_of_no_known_form_is_refused_with_the_forms(name: str) -> None:
    message = refusal(lambda: find_checkpoint(name), ConfigError, "unknown_model")
    assert message.startswith("model must be tiny, a diffusers folder, a .safetensors file or a hub id")
    assert repr(name) in message


@pytest.mark.parametrize("kind", ["FluxPipeline", "StableDiffusion3Pipeline", "StableDiffusionInpaintPipeline"])
def test_a_pipeline_of_another_kind_is_refused_by_name(sd: Path, kind: str) -> None:
    edit(sd / "model_index.json", _class_name=kind)
    message = refusal(lambda: find_checkpoint(str(sd)), ConfigError, "unsupported_model")
    assert f"is a {kind}" in message
    assert "StableDiffusionXLPipeline" in message


def test_a_refiner_is_refused_for_lack_of_a_text_encoder(sdxl_turbo_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sdxl_turbo_folder, tmp_path / "refiner"))
    edit(folder / "model_index.json", text_encoder=[None, None])
    message = refusal(lambda: find_checkpoint(str(folder)), ConfigError, "unsupported_model")
    assert "without text_encoder" in message


def test_an_inpainting_unet_is_refused(sd: Path) -> None:
    edit(sd / "unet" / "config.json", in_channels=9)
    message = refusal(lambda: find_checkpoint(str(sd)), ConfigError, "unsupported_model")
    assert "9 channels and not 4" in message


def test_code_that_comes_with_weights_is_never_run(sd: Path) -> None:
    edit(sd / "model_index.json", unet=["my_unet", "MyUNet"])
    (sd / "my_unet.py").write_text("raise SystemExit")
    assert "unet from my_unet" in refusal(lambda: find_checkpoint(str(sd)), ConfigError, "remote_code")


def test_a_pipeline_of_its_own_code_is_refused(sd: Path) -> None:
    edit(sd / "model_index.json", _class_name=["pipeline", "MyPipeline"])
    refusal(lambda: find_checkpoint(str(sd)), ConfigError, "remote_code")


@pytest.mark.parametrize("file", ["text_encoder/config.json", "tokenizer/tokenizer_config.json"])
def test_a_part_of_its_own_code_is_refused(sd: Path, file: str) -> None:
    edit(sd / file, auto_map={"AutoModel": "modeling.MyModel"})
    refusal(lambda: find_checkpoint(str(sd)), ConfigError, "remote_code")


@pytest.mark.parametrize("missing", ["unet", "unet/config.json", "vae", "tokenizer", "scheduler", "model_index.json"])
def test_what_is_missing_in_a_folder_is_named(sd: Path, missing: str) -> None:
    path = sd / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert missing in refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")


def test_missing_weights_are_named(sd: Path) -> None:
    weights_of(sd, "unet").unlink()
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")
    assert f"{sd / 'unet'} has no safetensors weights" in message


def test_a_folder_of_single_files_points_to_them(tmp_path: Path) -> None:
    file = save_header(tmp_path / "model.safetensors", {"cond_stage_model.x": [1]})
    message = refusal(lambda: find_checkpoint(str(tmp_path)), WeightsError, "weights_missing")
    assert f"name {file}" in message


def test_pickled_weights_are_refused_with_how_to_convert_them(sd: Path) -> None:
    weights_of(sd, "unet").rename(sd / "unet" / "diffusion_pytorch_model.bin")
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_not_safetensors")
    assert "diffusion_pytorch_model.bin" in message
    assert "save_pretrained" in message


def test_weights_that_are_cut_short_are_named(sd: Path) -> None:
    file = weights_of(sd, "vae")
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 10)
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_corrupt")
    assert f"{file} is cut short" in message


@pytest.mark.parametrize(
    "content", [b"", b"\x10", b"\x04" + b"\0" * 7 + b"oops", b"\xff" * 20, b"\x02" + b"\0" * 7 + b"[]"]
)
def test_weights_that_are_no_safetensors_are_named(sd: Path, content: bytes) -> None:
    weights_of(sd, "text_encoder").write_bytes(content)
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_corrupt")
    assert "text_encoder" in message


def test_a_git_lfs_pointer_is_recognised(sd: Path) -> None:
    weights_of(sd, "unet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "git lfs pull" in refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")


@pytest.mark.parametrize("content", ["{", "[]", '"unet"'])
def test_a_broken_configuration_is_named(sd: Path, content: str) -> None:
    (sd / "unet" / "config.json").write_text(content)
    assert "unet/config.json" in refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_corrupt")


def test_weights_that_do_not_fit_their_configuration_are_an_error_of_ours(sd: Path) -> None:
    edit(sd / "unet" / "config.json", block_out_channels=[32, 32])
    checkpoint = find_checkpoint(str(sd))
    message = refusal(lambda: load_pipeline(checkpoint, torch.float32, "full"), WeightsError, "weights_corrupt")
    assert str(sd) in message


def test_weights_in_several_files_are_counted(sd: Path) -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(sd / "unet")
    weights_of(sd, "unet").unlink()
    unet.save_pretrained(sd / "unet", max_shard_size="2MB")
    files = sorted((sd / "unet").glob("*.safetensors"))
    assert len(files) > 1
    pipe = load_pipeline(find_checkpoint(str(sd)), torch.float32, "full")
    assert torch.equal(pipe.unet.conv_in.weight, unet.conv_in.weight)
    files[0].unlink()
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")
    assert f"{len(files) - 1} of the {len(files)} files" in message


@pytest.mark.parametrize(
    ("dtype", "also_full", "marked"),
    [(torch.float32, False, True), (torch.float16, True, True), (torch.float32, True, False)],
)
def test_half_precision_files_are_used_where_they_are_wanted_or_alone(
    sd: Path, dtype: torch.dtype, also_full: bool, marked: bool
) -> None:
    full = weights_of(sd, "unet")
    half = {name: tensor.half() for name, tensor in load_file(full).items()}
    half["conv_in.bias"].fill_(7)
    save_file(half, full.with_suffix(".fp16.safetensors"), {"format": "pt"})
    if not also_full:
        full.unlink()
    pipe = load_pipeline(find_checkpoint(str(sd)), dtype, "full")
    assert bool((pipe.unet.conv_in.bias == 7).all()) == marked
    assert pipe.unet.dtype == dtype


@pytest.mark.parametrize("package", ["diffusers", "transformers", "huggingface_hub"])
def test_a_missing_package_is_named_with_its_extra(
    sd_turbo_folder: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = refusal(lambda: find_checkpoint(str(sd_turbo_folder)), ConfigError, "missing_package")
    assert f"package {package}" in message
    assert "pip install '.[diffusers]'" in message


# Single files

XL = "conditioner.embedders.1.model.ln_final.weight"
CLIP = "cond_stage_model.transformer.text_model.final_layer_norm.weight"
FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("shapes", "family"),
    [({XL: [4], FIRST_LAYER: [320, 4, 3, 3]}, "sdxl"), ({CLIP: [4], "first_stage_model.x": [2**34]}, "sd")],
)
def test_a_single_file_is_known_by_the_names_of_its_tensors(
    tmp_path: Path, shapes: dict[str, list[int]], family: str
) -> None:
    file = save_header(tmp_path / "model.safetensors", shapes, {"modelspec.license": "CreativeML Open RAIL-M"})
    assert find_checkpoint(str(file)) == Checkpoint(str(file), family, file, "CreativeML Open RAIL-M")


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({XL: [4], FIRST_LAYER: [320, 9, 3, 3]}, "9 channels"),
        ({XL: [4], "edm_mean": [4]}, "Playground"),
        ({"conditioner.embedders.0.model.ln_final.weight": [4]}, "refiner"),
        ({"lora_unet_down_blocks_0.lora_up.weight": [4, 4]}, "LoRA"),
        ({"unet.down_blocks.0.lora_A.weight": [4, 4]}, "LoRA"),
        ({FIRST_LAYER: [320, 4, 3, 3]}, "without its text encoder"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": [4]}, "no known layout"),
    ],
)
def test_a_single_file_of_another_kind_is_refused_by_name(
    tmp_path: Path, shapes: dict[str, list[int]], what: str
) -> None:
    file = save_header(tmp_path / "model.safetensors", shapes)
    assert what in refusal(lambda: find_checkpoint(str(file)), ConfigError, "unsupported_model")


def test_a_missing_single_file_is_named(tmp_path: Path) -> None:
    message = refusal(lambda: find_checkpoint(str(tmp_path / "no.safetensors")), WeightsError, "weights_missing")
    assert str(tmp_path / "no.safetensors") in message


def test_a_ckpt_is_refused(tmp_path: Path) -> None:
    message = refusal(lambda: find_checkpoint(str(tmp_path / "old.ckpt")), WeightsError, "weights_not_safetensors")
    assert "from_single_file" in message


@pytest.fixture
def single_file(sd_turbo_folder: Path, tmp_path: Path) -> Path:
    return pipelines.single_file(sd_turbo_folder, tmp_path / "mix.v2.safetensors")


def configuration(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors")))


def test_a_single_file_is_loaded_with_the_configuration_beside_it(single_file: Path, sd_turbo_folder: Path) -> None:
    configuration(sd_turbo_folder, single_file.with_suffix(""))
    pipe = load_pipeline(find_checkpoint(str(single_file)), torch.float32, "full")
    expected = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32, "full")
    assert type(pipe.scheduler) is type(expected.scheduler)
    for part in ("unet", "vae", "text_encoder"):
        for name, tensor in getattr(expected, part).state_dict().items():
            assert torch.equal(getattr(pipe, part).state_dict()[name], tensor), name


def test_a_single_file_is_loaded_with_a_cached_configuration(
    single_file: Path, sd_turbo_folder: Path, hub: Hub, tmp_path: Path
) -> None:
    hub.put_in_cache("stable-diffusion-v1-5/stable-diffusion-v1-5", configuration(sd_turbo_folder, tmp_path / "bare"))
    pipe = load_pipeline(find_checkpoint(str(single_file)), torch.float32, "full")
    assert pipe.unet.config.cross_attention_dim == 32
    assert hub.timeouts == []


def test_the_configuration_of_a_single_file_is_fetched_without_weights(
    single_file: Path, sd_turbo_folder: Path, hub: Hub
) -> None:
    hub.holds, hub.failure = {"stable-diffusion-v1-5/stable-diffusion-v1-5": sd_turbo_folder}, None
    load_pipeline(find_checkpoint(str(single_file)), torch.float32, "full")
    assert "unet/config.json" in hub.fetched
    assert not any(file.endswith(".safetensors") for file in hub.fetched)


@pytest.mark.parametrize(
    ("shapes", "repo"),
    [
        ({XL: [4]}, "stabilityai/sdxl-turbo"),
        ({CLIP: [4]}, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        (
            {CLIP: [4], "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": [320, 1024]},
            "stabilityai/sd-turbo",
        ),
    ],
)
def test_a_single_file_without_a_configuration_says_how_to_get_one(
    tmp_path: Path, shapes: dict[str, list[int]], repo: str
) -> None:
    checkpoint = find_checkpoint(str(save_header(tmp_path / "mix.safetensors", shapes)))
    message = refusal(lambda: load_pipeline(checkpoint, torch.float32, "full"), WeightsError, "weights_unreachable")
    assert f"hf download {repo} --include '*.json' '*.txt' --local-dir {tmp_path / 'mix'}" in message


def test_a_configuration_of_another_family_is_refused(single_file: Path, sdxl_turbo_folder: Path) -> None:
    configuration(sdxl_turbo_folder, single_file.with_suffix(""))
    checkpoint = find_checkpoint(str(single_file))
    message = refusal(lambda: load_pipeline(checkpoint, torch.float32, "full"), ConfigError, "unsupported_model")
    assert "of sd and its configuration" in message


# The hub


def test_a_cached_model_needs_no_network(sd_turbo_folder: Path, hub: Hub) -> None:
    folder = hub.put_in_cache("maker/model", sd_turbo_folder)
    assert find_checkpoint("maker/model") == Checkpoint("maker/model", "sd", folder, None)
    assert hub.timeouts == []


def test_a_model_is_downloaded_without_what_is_not_needed(sd: Path, hub: Hub) -> None:
    half = weights_of(sd, "unet").with_suffix(".fp16.safetensors")
    shutil.copy(weights_of(sd, "unet"), half)
    for unneeded in (
        "whole.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/code.py",
        "vae_decoder/model.safetensors",
        "safety_checker/model.safetensors",
        "picture.png",
    ):
        (sd / unneeded).parent.mkdir(exist_ok=True)
        (sd / unneeded).write_bytes(b"x")
    (sd / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.holds, hub.failure = {"maker/model": sd}, None
    assert find_checkpoint("maker/model").licence == "mit"
    weights = [file for file in hub.fetched if not file.endswith((".json", ".txt"))]
    assert sorted(weights) == [
        "README.md",
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_a_cached_copy_that_lacks_files_is_completed(sd_turbo_folder: Path, hub: Hub) -> None:
    (hub.put_in_cache("maker/model", sd_turbo_folder) / "unet" / "config.json").unlink()
    hub.holds, hub.failure = {"maker/model": sd_turbo_folder}, None
    assert find_checkpoint("maker/model").family == "sd"
    assert "unet/config.json" in hub.fetched


def test_a_damaged_cached_copy_is_named(sd_turbo_folder: Path, hub: Hub) -> None:
    file = weights_of(hub.put_in_cache("maker/model", sd_turbo_folder), "unet")
    file.write_bytes(file.read_bytes()[:1000])
    message = refusal(lambda: find_checkpoint("maker/model"), WeightsError, "weights_corrupt")
    assert str(file) in message


def test_an_unsupported_model_is_refused_before_its_weights_are_fetched(sd: Path, hub: Hub) -> None:
    edit(sd / "model_index.json", _class_name="FluxPipeline")
    hub.holds, hub.failure = {"maker/model": sd}, None
    refusal(lambda: find_checkpoint("maker/model"), ConfigError, "unsupported_model")
    assert hub.fetched == []


def test_a_repository_of_single_files_is_refused(sd: Path, hub: Hub) -> None:
    (sd / "model_index.json").unlink()
    hub.holds, hub.failure = {"maker/model": sd}, None
    message = refusal(lambda: find_checkpoint("maker/model"), ConfigError, "unsupported_model")
    assert "model_index.json" in message


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(sd: Path, hub: Hub) -> None:
    weights_of(sd, "unet").rename(sd / "unet" / "diffusion_pytorch_model.bin")
    hub.holds, hub.failure = {"maker/model": sd}, None
    message = refusal(lambda: find_checkpoint("maker/model"), WeightsError, "weights_not_safetensors")
    assert "maker/model/unet has diffusion_pytorch_model.bin" in message
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("failure", "code", "help_given"),
    [
        (http.ConnectError("no route to host"), "weights_unreachable", "hf download maker/model"),
        (http.ReadTimeout("timed out"), "weights_unreachable", "hf download maker/model"),
        (ConnectionResetError(104, "reset by peer"), "weights_unreachable", "hf download maker/model"),
        (errors.OfflineModeIsEnabled("offline"), "weights_unreachable", "HF_HUB_OFFLINE is set: unset it"),
        (hub_error(errors.HfHubHTTPError, 503), "weights_unreachable", "hf download maker/model"),
        (hub_error(errors.GatedRepoError, 403), "weights_gated", "https://huggingface.co/maker/model"),
        (hub_error(errors.HfHubHTTPError, 401), "weights_gated", "hf auth login"),
        (hub_error(errors.RepositoryNotFoundError, 401), "weights_missing", "there is no maker/model"),
        (hub_error(errors.HfHubHTTPError, 404), "weights_missing", "there is no maker/model"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_helps(failure: Exception, code: str, help_given: str, hub: Hub) -> None:
    hub.failure = failure
    message = refusal(lambda: find_checkpoint("maker/model"), WeightsError, code)
    assert "maker/model" in message
    assert help_given in message


def test_the_hub_is_given_a_few_seconds_to_answer(hub: Hub) -> None:
    refusal(lambda: find_checkpoint("maker/model"), WeightsError, "weights_unreachable")
    assert len(hub.timeouts) == 1
    assert 0 < (hub.timeouts[0] or 0) <= 5


# The VAE


def vae_of(pipe: Any) -> str:
    return type(pipe.vae).__name__


@pytest.mark.parametrize(("fixture", "tiny"), [("sd_turbo_folder", "taesd"), ("sdxl_turbo_folder", "taesdxl")])
def test_the_small_vae_is_chosen_when_it_is_cached(
    fixture: str,
    tiny: str,
    taesd_folder: Path,
    hub: Hub,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.put_in_cache(f"madebyollin/{tiny}", taesd_folder)
    caplog.set_level(logging.INFO)
    pipe = load_pipeline(find_checkpoint(str(request.getfixturevalue(fixture))), torch.bfloat16)
    assert vae_of(pipe) == "AutoencoderTiny"
    assert pipe.vae.dtype == torch.bfloat16
    assert not pipe.vae.training
    assert f"VAE madebyollin/{tiny}" in caplog.text


def test_the_small_vae_is_fetched_when_it_can_be(sd_turbo_folder: Path, taesd_folder: Path, hub: Hub) -> None:
    hub.holds, hub.failure = {"madebyollin/taesd": taesd_folder}, None
    pipe = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32)
    assert vae_of(pipe) == "AutoencoderTiny"
    assert sorted(hub.fetched) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_without_the_small_vae_the_own_one_is_kept_and_that_is_said(
    sd_turbo_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pipe = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32)
    assert vae_of(pipe) == "AutoencoderKL"
    assert "madebyollin/taesd, which cannot be had" in caplog.text


def test_full_keeps_the_own_vae(sd_turbo_folder: Path, taesd_folder: Path, hub: Hub) -> None:
    hub.put_in_cache("madebyollin/taesd", taesd_folder)
    pipe = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32, "full")
    assert vae_of(pipe) == "AutoencoderKL"


def test_a_small_vae_of_the_checkpoint_is_kept(sd: Path, taesd_folder: Path, hub: Hub) -> None:
    shutil.rmtree(sd / "vae")
    shutil.copytree(taesd_folder, sd / "vae")
    edit(sd / "model_index.json", vae=["diffusers", "AutoencoderTiny"])
    pipe = load_pipeline(find_checkpoint(str(sd)), torch.float32)
    assert vae_of(pipe) == "AutoencoderTiny"
    assert hub.timeouts == []


def test_sana_keeps_its_own_vae_without_asking_the_hub(sana_folder: Path, hub: Hub) -> None:
    assert vae_of(load_pipeline(find_checkpoint(str(sana_folder)), torch.float32)) == "AutoencoderDC"
    assert hub.timeouts == []


def test_another_vae_comes_from_a_folder(sd_turbo_folder: Path, sdxl_turbo_folder: Path, taesd_folder: Path) -> None:
    checkpoint = find_checkpoint(str(sd_turbo_folder))
    assert vae_of(load_pipeline(checkpoint, torch.float32, str(taesd_folder))) == "AutoencoderTiny"
    pipe = load_pipeline(checkpoint, torch.float32, str(sdxl_turbo_folder / "vae"))
    assert vae_of(pipe) == "AutoencoderKL"
    assert pipe.vae.config.scaling_factor == 0.13025


def test_a_vae_that_was_asked_for_is_not_replaced_silently(sd_turbo_folder: Path) -> None:
    checkpoint = find_checkpoint(str(sd_turbo_folder))
    message = refusal(
        lambda: load_pipeline(checkpoint, torch.float32, "maker/vae"), WeightsError, "weights_unreachable"
    )
    assert "maker/vae" in message


def test_a_vae_of_no_known_form_is_refused(sd_turbo_folder: Path) -> None:
    checkpoint = find_checkpoint(str(sd_turbo_folder))
    assert "'small'" in refusal(lambda: load_pipeline(checkpoint, torch.float32, "small"), ConfigError, "unknown_vae")


def test_a_vae_that_does_not_fit_is_refused(
    sd_turbo_folder: Path, sana_folder: Path, taesd_folder: Path, tmp_path: Path
) -> None:
    wide = Path(shutil.copytree(taesd_folder, tmp_path / "taef1"))
    edit(wide / "config.json", latent_channels=16)
    for folder, vae, what in (
        (sana_folder, taesd_folder, "sana-sprint needs AutoencoderDC"),
        (sd_turbo_folder, sana_folder / "vae", "AutoencoderDC"),
        (sd_turbo_folder, sd_turbo_folder / "unet", "UNet2DConditionModel"),
        (sd_turbo_folder, wide, "16 latent channels"),
    ):
        load = partial(load_pipeline, find_checkpoint(str(folder)), torch.float32, str(vae))
        message = refusal(load, ConfigError, "unsupported_vae")
        assert what in message


def test_a_vae_that_overflows_in_half_precision_is_warned_of(
    sdxl_turbo_folder: Path, taesd_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = find_checkpoint(str(sdxl_turbo_folder))
    load_pipeline(checkpoint, torch.float16, str(taesd_folder))
    load_pipeline(checkpoint, torch.bfloat16, "full")
    assert "overflows" not in caplog.text
    load_pipeline(checkpoint, torch.float16, "full")
    assert "overflows in float16" in caplog.text
