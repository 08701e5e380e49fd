from __future__ import annotations

import pytest
import torch

from streamgen.models.text import parse_weights, weigh


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("", []),
        ("a (big) cat", [("a ", 1.0), ("big", 1.1), (" cat", 1.0)]),
        ("a ((big)) cat", [("a ", 1.0), ("big", 1.21), (" cat", 1.0)]),
        ("[dull] sky", [("dull", 1 / 1.1), (" sky", 1.0)]),
        ("(a cat:1.5), sunny", [("a cat", 1.5), (", sunny", 1.0)]),
        ("(a (red) cat:0.5)", [("a ", 0.5), ("red", 0.55), (" cat", 0.5)]),
        (r"smile \(anime\)", [("smile (anime)", 1.0)]),
        ("time 12:30, a: b", [("time 12:30, a: b", 1.0)]),
        ("open ( bracket", [("open ( bracket", 1.0)]),
        ("closed ) bracket ]", [("closed ) bracket ]", 1.0)]),
        ("(wild:99) (nil:0)", [("wild", 2.0), (" ", 1.0), ("nil", 0.1)]),
    ],
)
def test_weights_are_read_as_people_write_them(text: str, pieces: list[tuple[str, float]]) -> None:
    found = parse_weights(text)
    assert [piece for piece, _ in found] == [piece for piece, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


def test_without_weights_an_embedding_stays_bit_for_bit() -> None:
    embedding = torch.randn(1, 5, 8)
    assert weigh(embedding, torch.ones(1, 5)) is embedding


def test_a_weight_moves_its_token_and_the_mean_stays() -> None:
    embedding = torch.rand(1, 5, 8) + 0.5
    weighed = weigh(embedding, torch.tensor([[1.0, 1.0, 1.5, 1.0, 1.0]]))
    assert float(weighed.mean()) == pytest.approx(float(embedding.mean()), rel=1e-5)
    assert float(weighed[0, 2].sum() / weighed[0, 1].sum()) == pytest.approx(
        1.5 * float(embedding[0, 2].sum() / embedding[0, 1].sum()), rel=1e-5
    )
