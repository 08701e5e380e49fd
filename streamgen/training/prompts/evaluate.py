"""How well the prompt encoder reads what it was not taught."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from streamgen.models.phrasebook import key
from streamgen.models.prompt_encoder import DEFAULT_WEIGHTS, PromptEncoder
from streamgen.training.prompts.heldout import DEV, OUTSIDE_DEV, OUTSIDE_TEST, TEST
from streamgen.training.prompts.phrasebook import fragments

__all__ = ["accuracies", "auroc", "figures", "misread", "overlapping"]


def figures(data: Path | None = None, weights: Path = DEFAULT_WEIGHTS) -> dict[str, float]:
    """The published figures; every one is a share, 0 to 1.

    Args:
        data: not used: the held-out prompts are part of the package.
        weights: the file to score.

    Returns:
        ``accuracy_test`` and ``accuracy_all``: held-out prompts whose strongest style is the right one (TEST alone,
        and with DEV); ``accuracy_test_unseen``: those of TEST that share no whole phrase with the phrasebook;
        ``understood_auroc_test`` and ``understood_auroc_all``: the chance that a prompt is said to be understood better
        than a text that asks for no look; ``understood_asked`` and ``understood_outside``: the shares of TEST
        and OUTSIDE_TEST that are said to be understood to one half or more; ``accuracy/STYLE`` for each style (TEST
        and DEV).
    """
    encoder = PromptEncoder.load(weights)
    both = {style: [*DEV[style], *TEST[style]] for style in TEST}
    seen = overlapping(TEST)
    unseen = {style: [prompt for prompt in prompts if prompt not in seen] for style, prompts in TEST.items()}
    asked, outside = _understood(encoder, _all(TEST)), _understood(encoder, OUTSIDE_TEST)
    by_style = accuracies(encoder, both)
    return {
        "accuracy_test": _overall(encoder, TEST),
        "accuracy_all": _overall(encoder, both),
        "accuracy_test_unseen": _overall(encoder, unseen),
        "understood_auroc_test": auroc(asked, outside),
        "understood_auroc_all": auroc(
            _understood(encoder, _all(both)), _understood(encoder, [*OUTSIDE_DEV, *OUTSIDE_TEST])
        ),
        "understood_asked": sum(value >= 0.5 for value in asked) / len(asked),
        "understood_outside": sum(value >= 0.5 for value in outside) / len(outside),
        **{f"accuracy/{style}": share for style, share in by_style.items()},
    }


def accuracies(encoder: PromptEncoder, prompts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Style to the share of its prompts whose strongest style it is."""
    return {
        style: sum(_strongest(encoder, prompt) == style for prompt in asked) / len(asked)
        for style, asked in prompts.items()
    }


def misread(encoder: PromptEncoder, prompts: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str]]:
    """(prompt, the right style, the style it was read as) of every error; for looking at DEV."""
    read = [(prompt, style, _strongest(encoder, prompt)) for style, asked in prompts.items() for prompt in asked]
    return [(prompt, style, found) for prompt, style, found in read if found != style]


def overlapping(prompts: Mapping[str, Sequence[str]]) -> set[str]:
    """Prompts that hold, word for word, a name or a phrase of two or more words that the phrasebook is made from."""
    taught = {key(example.text) for example in fragments()}
    known = [f" {phrase} " for phrase in taught if " " in phrase or len(phrase) > 5]
    return {prompt for prompt in _all(prompts) if any(phrase in f" {key(prompt)} " for phrase in known)}


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that one of ``positive`` is larger than one of ``negative``; a tie counts half."""
    wins = sum((high > low) + 0.5 * (high == low) for high in positive for low in negative)
    return wins / (len(positive) * len(negative))


def _overall(encoder: PromptEncoder, prompts: Mapping[str, Sequence[str]]) -> float:
    asked = sum(map(len, prompts.values()))
    return 1.0 - len(misread(encoder, prompts)) / max(asked, 1)


def _strongest(encoder: PromptEncoder, prompt: str) -> str:
    styles = encoder.read(prompt).styles
    return max(styles, key=lambda style: styles[style])


def _understood(encoder: PromptEncoder, prompts: Iterable[str]) -> list[float]:
    return [encoder.read(prompt).understood for prompt in prompts]


def _all(prompts: Mapping[str, Sequence[str]]) -> list[str]:
    return [prompt for asked in prompts.values() for prompt in asked]
