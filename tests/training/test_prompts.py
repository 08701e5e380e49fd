import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from streamgen.errors import ConfigError
from streamgen.models.phrasebook import PHRASES, key
from streamgen.models.prompt_encoder import PromptEncoder
from streamgen.models.text_network import Floats, TextNetwork, load_tensors, words
from streamgen.training import prompts
from streamgen.training.prompts import lessons
from streamgen.training.prompts.evaluate import auroc, figures, overlapping
from streamgen.training.prompts.everyday import EVERYDAY
from streamgen.training.prompts.heldout import DEV, OUTSIDE_DEV, OUTSIDE_TEST, TEST
from streamgen.training.prompts.looks import MARKS, SCENES
from streamgen.training.prompts.network import TextLearner, export
from streamgen.training.prompts.phrasebook import STYLES, everyday, fragments, listed, phrasebook
from streamgen.training.prompts.teacher import embed_once


class Telling:
    """Stands in for the sentence encoders: texts that share words are near each other."""

    def __init__(self, folder: Path) -> None:
        pass

    def embed(self, texts: Sequence[str]) -> Floats:
        return np.stack([sum(map(self._word, words(text)), np.full(128, 1e-3, np.float32)) for text in texts])

    def english(self) -> list[str]:
        return ["storm", "garden", "invoice"] * 40

    def translated(self, english: Sequence[str], kept: Path) -> list[tuple[str, int]]:
        return [("sturm", 0), ("garten", 1)]

    @staticmethod
    def _word(word: str) -> Floats:
        return np.random.default_rng(list(word.encode())).standard_normal(128).astype(np.float32) * np.float32(0.1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "Teacher", Telling)
    for name, value in (("_PER_STYLE", 4), ("_EVERYDAY", 20), ("_SALADS", 20)):
        monkeypatch.setattr(lessons, name, value)


def arguments(out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    prompts.add_arguments(parser)
    return parser.parse_args(["--data", str(out), "--out", str(out), *more])


# ------------------------------------------------------------------------------------------------------- the phrasebook


def test_every_style_has_names_marks_and_scenes() -> None:
    assert set(PHRASES) == set(MARKS) == set(SCENES)
    for style in PHRASES:
        assert len(listed(PHRASES[style]) + listed(MARKS[style]) + listed(SCENES[style])) >= 30


def test_the_same_seed_makes_the_same_phrasebook() -> None:
    first, second = (list(phrasebook(random.Random(3), 5)) for _ in range(2))
    assert first == second
    assert len(first) == 5 * len(STYLES)


def test_texts_that_ask_for_no_look_are_labelled_so() -> None:
    assert {example.understood for example in everyday(random.Random(0), 50)} == {0.0}


def test_no_held_out_prompt_is_in_the_phrasebook_unless_it_is_a_bare_name() -> None:
    names = {key(name) for style in PHRASES.values() for name in listed(style)}
    taught = {key(example.text) for example in fragments()} - names
    held_out = {key(prompt) for half in (DEV, TEST) for asked in half.values() for prompt in asked}
    assert not taught & held_out


def test_no_held_out_text_without_a_look_is_taught() -> None:
    assert not {key(text) for text in (*OUTSIDE_DEV, *OUTSIDE_TEST)} & {key(text) for text in listed(EVERYDAY)}


def test_there_are_twelve_held_out_prompts_a_style_and_sixty_that_ask_for_no_look() -> None:
    assert set(DEV) == set(TEST) == set(PHRASES)
    assert all(len({*DEV[style], *TEST[style]}) >= 12 for style in PHRASES)
    assert len({*OUTSIDE_DEV, *OUTSIDE_TEST}) >= 60


# ------------------------------------------------------------------------------------------------------------- training


@pytest.mark.usefixtures("quick")
def test_training_writes_weights_that_the_encoder_reads_and_can_be_resumed(tmp_path: Path) -> None:
    assert prompts.run(arguments(tmp_path, "--steps", "2")) == 0
    first = load_tensors(tmp_path / "prompts.safetensors")[0]["prototypes"]
    assert prompts.run(arguments(tmp_path, "--steps", "3", "--resume")) == 0
    assert not np.array_equal(first, load_tensors(tmp_path / "prompts.safetensors")[0]["prototypes"])
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    assert PromptEncoder.load(tmp_path / "prompts.safetensors").styles == STYLES


def test_missing_teachers_and_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip install") as missing:
        prompts.run(arguments(tmp_path))
    assert missing.value.code == "data_missing"
    with pytest.raises(ConfigError) as unstarted:
        prompts.run(arguments(tmp_path, "--resume"))
    assert unstarted.value.code == "checkpoint_missing"


def test_what_an_encoder_said_is_kept_when_it_fails_and_its_error_is_told(tmp_path: Path) -> None:
    kept = tmp_path / "kept.npz"

    def embed(texts: Sequence[str]) -> Floats:
        if "fails" in texts:
            raise MemoryError("too much")
        return np.ones((len(texts), 2), np.float32)

    with pytest.raises(MemoryError, match="too much"):
        embed_once(embed, ["fails"], kept)
    assert not kept.exists()
    embed_once(embed, ["one"], kept)
    before = kept.read_bytes()
    with pytest.raises(MemoryError, match="too much"):
        embed_once(embed, ["one", "fails"], kept)
    assert kept.read_bytes() == before
    assert embed_once(embed, ["one"], kept).shape == (1, 2)


@pytest.mark.usefixtures("quick")
def test_the_exported_network_says_what_the_learning_one_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    learner = TextLearner(len(STYLES)).eval()
    taught = lessons.make_lessons(tmp_path, 0, tmp_path)
    picked = np.arange(0, len(taught.texts), 97)
    with torch.no_grad():
        points = learner(taught.batch(picked)).numpy()
    network = TextNetwork(export(learner, learner.certainty))
    for at, point in zip(picked, points, strict=True):
        assert float(network.embed(taught.texts[at]) @ point) > 0.995, taught.texts[at]


# ----------------------------------------------------------------------------------------------------------- evaluation


def test_the_packaged_weights_read_what_they_were_not_taught() -> None:
    scores = figures()
    assert scores["accuracy_test"] >= 0.85
    assert scores["understood_auroc_test"] >= 0.9
    assert {f"accuracy/{style}" for style in PHRASES} <= set(scores)
    assert all(0.0 <= score <= 1.0 for score in scores.values())


def test_the_area_under_the_curve_counts_pairs_in_order() -> None:
    assert auroc([0.9, 0.8], [0.1]) == 1.0
    assert auroc([0.5], [0.5]) == 0.5
    assert auroc([0.1], [0.9, 0.05]) == 0.5


def test_prompts_that_hold_a_taught_phrase_are_told_apart() -> None:
    assert overlapping({"oil": ["a vermeer of my dog", "zqx"]}) == {"a vermeer of my dog"}
