from dataclasses import asdict
from typing import Any

import pytest

from tanzaku.compute import choose_compute
from tanzaku.errors import SpecError
from tanzaku.pretraining.options import read_options


def test_fast_counts_only_by_what_it_changes() -> None:
    plain = choose_compute(device="cpu", precision="float32", attention="auto")
    fast = choose_compute(device="cpu", precision="float32", attention="auto", fast=True)
    named = choose_compute(device="cpu", precision="float32", attention="eager", fast=True)
    assert named == plain != fast
    one, other = (read_options({"steps": 1, "fast": fast}) for fast in (True, False))
    assert one.identity(compute=asdict(plain)) == other.identity(compute=asdict(plain))
    assert one.identity(compute=asdict(plain)) != one.identity(compute=asdict(fast))


def test_defaults_that_follow_from_others() -> None:
    new = read_options({"steps": 10, "shape": "6x320"})
    assert (new.heads, new.intermediate, new.learning_rate) == (5, 1280, 1e-3)
    continued = read_options({"steps": 10, "from_encoder": "somewhere"})
    assert (continued.heads, continued.shape, continued.learning_rate) == (None, None, 1e-4)
    assert read_options({"steps": 10, "shape": "2x32"}).heads == 1


def test_muon_starts_at_its_own_rate_and_continues_at_a_tenth() -> None:
    new = read_options({"steps": 10, "optimizer": "muon"})
    assert (new.learning_rate, new.muon_learning_rate) == (1e-3, 0.02)
    continued = read_options({"steps": 10, "optimizer": "muon", "from_encoder": "somewhere"})
    assert continued.muon_learning_rate == pytest.approx(0.02 / 10)
    assert read_options({"steps": 10, "optimizer": "adamw"}).muon_learning_rate is None


def test_positions_are_those_of_a_sequence_unless_given() -> None:
    assert read_options({"steps": 10, "max_tokens": 64}).positions == 64
    assert read_options({"steps": 10, "max_tokens": 64, "positions": 512}).positions == 512
    with_room, without = ({"steps": 10, "positions": places} for places in (512, 128))
    assert read_options(without).identity() == read_options({"steps": 10}).identity()
    assert read_options(with_room).identity() != read_options(without).identity()


def test_resolved_options_resolve_to_themselves() -> None:
    for content in ({"steps": 10}, {"minutes": 1.5, "from_encoder": "somewhere"}, {"steps": 1, "optimizer": "muon"}):
        options = read_options(content)
        assert read_options(options.model_dump(exclude_unset=True)) == options


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"steps": 1, "shape": "4by256"}, "the shape '4by256' is not understood; write layers x hidden size"),
        ({"steps": 1, "shape": "4x256", "heads": 3}, "can't be divided among 3 heads"),
        ({}, "either as steps, as tokens, as minutes or as epochs"),
        ({"steps": 1, "minutes": 1.0}, "either as steps, as tokens, as minutes or as epochs"),
        ({"steps": 1, "max_tokens": 4096}, "less than one sequence of 4096 tokens"),
        ({"steps": 1, "positions": 64}, "positions = 64 is less than a sequence of 128 tokens"),
        ({"steps": 1, "from_encoder": "x", "positions": 512}, "positions is fixed by the encoder"),
        ({"steps": 1, "from_encoder": "x", "shape": "4x256"}, "shape is fixed by the encoder"),
        (
            {"steps": 1, "optimizer": "adamw", "muon_learning_rate": 0.01},
            "muon_learning_rate is for optimizer = muon alone",
        ),
        ({"steps": 1, "masking_rate": 1.5}, "masking_rate: Input should be less than 1"),
        ({"steps": 1, "precision": "float8"}, "precision: Input should be 'auto', 'float32' or 'bfloat16'"),
    ],
)
def test_what_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_options(content)


def test_identity_follows_what_decides_the_result() -> None:
    first = read_options({"steps": 10})
    assert first.identity(texts=["a"]) == read_options({"steps": 10, "checkpoint_minutes": 1.0}).identity(texts=["a"])
    assert first.identity(texts=["a"]) != first.identity(texts=["b"])
    assert first.identity(texts=["a"]) != read_options({"steps": 10, "seed": 1}).identity(texts=["a"])
    muon, slower = ({"steps": 10, "optimizer": "muon", "muon_learning_rate": rate} for rate in (0.02, 0.01))
    assert (
        len({read_options(content).identity() for content in ({"steps": 10, "optimizer": "adamw"}, muon, slower)}) == 3
    )
