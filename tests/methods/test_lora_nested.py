"""One adapter serves at every rank: what computes and learns at a drawn rank is a LoRA of that rank, and no more."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tanzaku.encoders.fast import fast_forward
from tanzaku.encoders.nested import FirstRows, Width
from tanzaku.methods.lora import Lora
from tanzaku.methods.lora_nested import LoraNested
from tanzaku.methods.ranked import named_lora_factors
from tanzaku.study.predictions import read_predictions
from tanzaku.study.record import FinishedRun
from tanzaku.study.spec import StudySpec
from tanzaku.training.batches import Batch
from tanzaku.training.events import Interrupted
from tanzaku.training.forward import model_logits
from tests.methods.runs import run_one
from tests.methods.test_contract import Case, _load, _logits, _train_a_little

RANKS = (1, 2, 5)


def _batch() -> Batch:
    ids = torch.randint(5, 20, (4, 11), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[2, 7:] = 0
    return Batch(ids, mask, torch.arange(4) % 3)


def _attached(encoder: Path, method: LoraNested) -> nn.Module:
    """With factors that are no longer 0."""
    loaded = _load(Case(encoder))
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    model.zero_grad()
    return model


def _width(model: nn.Module) -> Width:
    (width,) = {id(m.width): m.width for m in model.modules() if isinstance(m, FirstRows)}.values()
    return width


def _gradients(model: nn.Module, logits: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    nn.functional.cross_entropy(logits, _batch().labels).backward()
    return {name: (a.grad, b.grad) for name, (a, b) in named_lora_factors(model).items()}  # type: ignore[misc]


def _plain_at(encoder: Path, nested: nn.Module, rank: int) -> nn.Module:
    """A plain LoRA of this rank with α = r and the first `rank` ranks of the nested one, and its head."""
    loaded = _load(Case(encoder))
    plain = Lora(rank=rank).attach(loaded.model, head=loaded.head)
    with torch.no_grad():
        factors = named_lora_factors(nested)
        for name, (a, b) in named_lora_factors(plain).items():
            a.copy_(factors[name][0][:rank])
            b.copy_(factors[name][1][:, :rank])
        head = {key: value for key, value in nested.state_dict().items() if ".modules_to_save." in key}
        assert plain.load_state_dict(head, strict=False).unexpected_keys == []
    return plain


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("fast", [False, True])
def test_a_width_computes_and_learns_as_a_lora_of_that_rank(
    tiny_encoder: Path, rank: int, dropout: float, fast: bool
) -> None:
    model = _attached(tiny_encoder, LoraNested(ranks=RANKS, dropout=dropout)).eval()
    plain = _plain_at(tiny_encoder, model, rank).eval()
    expected = model_logits(plain, _batch())
    forward = fast_forward(model, precision="float32") if fast else model_logits
    assert forward is not None
    _width(model).rank = rank
    found = forward(model, _batch())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradients, wanted = _gradients(model, found), _gradients(plain, expected)
    for name, (a, b) in gradients.items():
        torch.testing.assert_close(a[:rank], wanted[name][0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(b[:, :rank], wanted[name][1], rtol=1e-4, atol=1e-6)
        assert not a[rank:].any()
        assert not b[:, rank:].any()


@pytest.mark.parametrize("fast", [False, True])
def test_the_last_ranks_learn_alone_where_that_was_asked_for(tiny_encoder: Path, fast: bool) -> None:
    model = _attached(tiny_encoder, LoraNested(ranks=RANKS)).eval()
    everything = copy.deepcopy(model)
    _width(model).rank = _width(everything).rank = 5
    _width(model).frozen = 2
    assert _width(everything).frozen == 0
    forward = (fast_forward(model, precision="float32") if fast else None) or model_logits
    logits = forward(model, _batch())
    whole = model_logits(everything, _batch())
    torch.testing.assert_close(logits, whole, rtol=1e-5, atol=1e-5)
    gradients, wanted = _gradients(model, logits), _gradients(everything, whole)
    for name, (a, b) in gradients.items():
        assert not a[:2].any()
        assert not b[:, :2].any()
        torch.testing.assert_close(a[2:], wanted[name][0][2:], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(b[:, 2:], wanted[name][1][:, 2:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("update", "frozen"), [("all", {1: 0, 2: 0, 5: 0}), ("last", {1: 0, 2: 1, 5: 2})])
def test_every_rank_is_drawn_in_training_and_the_largest_serves_elsewhere(
    tiny_encoder: Path, update: Any, frozen: dict[int, int]
) -> None:
    method = LoraNested(ranks=RANKS, update=update)
    loaded = _load(Case(tiny_encoder))
    model = method.attach(loaded.model, head=loaded.head)
    drawn: list[Width] = []

    def note(model: nn.Module, batch: Any) -> Tensor:
        drawn.append(copy.copy(_width(model)))
        return torch.zeros(())

    forward = method.wrap_forward(note)
    torch.manual_seed(3)
    for _ in range(300):
        forward(model.train(), None)
    counts = {rank: sum(width.rank == rank for width in drawn) for rank in RANKS}
    # 100 each is expected; five standard deviations of a binomial of 300 and 1/3 are 41.
    assert all(abs(count - 100) < 41 for count in counts.values())
    assert {(width.rank, width.frozen) for width in drawn} == set(frozen.items())
    torch.manual_seed(3)
    again = [width.rank for width in drawn]
    drawn.clear()
    for _ in range(300):
        forward(model.train(), None)
    assert [width.rank for width in drawn] == again
    drawn.clear()
    state = torch.get_rng_state()
    forward(model.eval(), None)
    assert drawn == [Width(5)]
    assert torch.equal(torch.get_rng_state(), state)


def _study(encoder: Path, **arm: Any) -> StudySpec:
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24},
        "training": {"epochs": 3, "learning_rate": 1e-2, "precision": "float32", "log_steps": 1},
        "arms": [{"method": "lora-nested", "ranks": [1, 2, 8]} | arm],
    }
    return StudySpec.model_validate(content)


def test_one_run_gives_the_whole_table(tiny_encoder: Path, tmp_path: Path) -> None:
    record = run_one(_study(tiny_encoder), tmp_path / "run")
    assert record.compute.path == "fast"
    assert [one.rank for one in record.ranks] == [1, 2, 8]
    assert record.ranks[-1].test.accuracy == record.test.accuracy
    assert record.ranks[0].saved_bytes < record.ranks[1].saved_bytes < record.ranks[2].saved_bytes
    method = LoraNested(ranks=(1, 2, 8))
    for rank in (1, 2, 8):
        method.write_at_rank(tmp_path / "run" / "model", tmp_path / f"r{rank}", rank=rank)
        fresh = _load(Case(tiny_encoder), seed=9)
        opened = method.load(fresh.model, tmp_path / f"r{rank}", head=fresh.head)
        assert {a.shape[0] for a, _ in named_lora_factors(opened).values()} == {rank}
        classes, predicted, *_ = read_predictions(tmp_path / "run" / "ranks" / f"r{rank}")
        measured = next(one.test for one in record.ranks if one.rank == rank)
        assert np.mean(np.equal(classes, predicted)) == pytest.approx(measured.accuracy)


def test_the_model_at_a_rank_is_the_file_at_that_rank(tiny_encoder: Path, tmp_path: Path) -> None:
    method = LoraNested(ranks=RANKS, targets=("all-linear",))
    model = _attached(tiny_encoder, method)
    method.save(model, tmp_path / "whole")
    for rank in RANKS:
        with method.at_rank(model, rank):
            expected = _logits(model)
        method.write_at_rank(tmp_path / "whole", tmp_path / f"r{rank}", rank=rank)
        fresh = _load(Case(tiny_encoder), seed=9)
        opened = method.load(fresh.model, tmp_path / f"r{rank}", head=fresh.head)
        torch.testing.assert_close(_logits(opened), expected, rtol=1e-5, atol=1e-6)


def _losses(record: FinishedRun) -> list[float]:
    return [loss for _, loss in record.training_curve]


def test_fast_and_transformers_draw_the_same_ranks_and_have_equal_losses(tiny_encoder: Path, tmp_path: Path) -> None:
    fast = run_one(_study(tiny_encoder, update="last"), tmp_path / "fast")
    own = run_one(_study(tiny_encoder, update="last", fast=False), tmp_path / "own")
    assert own.compute is not None
    assert own.compute.path == "transformers"
    # The rounding of each step grows through AdamW, which divides small gradients by their own size.
    assert _losses(fast) == pytest.approx(_losses(own), rel=1e-4)


def test_an_interrupted_run_draws_on_where_it_stopped(tiny_encoder: Path, tmp_path: Path) -> None:
    whole = run_one(_study(tiny_encoder), tmp_path / "whole" / "run")
    with pytest.raises(Interrupted):
        run_one(_study(tiny_encoder), tmp_path / "cut" / "run", stop_after=4)
    cut = run_one(_study(tiny_encoder), tmp_path / "cut" / "run")
    assert cut.resumptions == 1
    assert _losses(cut) == _losses(whole)
    assert [one.test for one in cut.ranks] == [one.test for one in whole.ranks]
    weights = [
        (tmp_path / name / "run" / "model" / "adapter_model.safetensors").read_bytes() for name in ("whole", "cut")
    ]
    assert weights[0] == weights[1]


def test_options_that_do_not_fit_are_errors() -> None:
    for options, message in (
        ({"ranks": [4, 2]}, r"the ranks grow: write \[2, 4\]"),
        ({"ranks": [4]}, "at least 2"),
        ({"targets": "embeddings"}, "linear layers alone"),
        ({"alpha": 8}, "Extra inputs"),
    ):
        with pytest.raises(ValidationError, match=message):
            LoraNested.model_validate(options)
    assert LoraNested().details() == {"scale": 1.0}
