"""Truncation is the nearest update of its rank, by numpy's own decomposition of the whole matrix."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tanzaku.methods.adapter import read_adapter, rewrite_adapter
from tanzaku.methods.lora import Lora
from tanzaku.methods.truncation import rank_for_energy, singular_values, truncate
from tests.methods.test_contract import Case, _load, _logits, _train_a_little


def _factors(inputs: int, outputs: int, rank: int, *, seed: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(rank, inputs)), random.normal(size=(outputs, rank))
    # Columns of very different lengths, so that which are left matters.
    b *= np.geomspace(1, 1e-2, rank)
    return torch.from_numpy(a).float(), torch.from_numpy(b).float()


@given(
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 12),
    rank=st.integers(1, 15),
    cut=st.integers(1, 15),
    data=st.data(),
)
def test_is_numpys_truncated_decomposition(inputs: int, outputs: int, rank: int, cut: int, data: Any) -> None:
    a, b = _factors(inputs, outputs, rank, seed=data.draw(st.integers(0, 1000)))
    whole = b.double().numpy() @ a.double().numpy()
    left, values, right = np.linalg.svd(whole, full_matrices=False)
    expected = (left[:, :cut] * values[:cut]) @ right[:cut]
    cut_a, cut_b = truncate(a, b, rank=cut)
    assert len(cut_a) == cut_b.shape[1] <= min(cut, rank)
    assert cut_a.dtype == cut_b.dtype == torch.float32
    found = cut_b.double().numpy() @ cut_a.double().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * values[0])
    # Eckart and Young: what is lost is the singular values that are left out.
    lost = np.sqrt((values[cut:] ** 2).sum())
    np.testing.assert_allclose(np.linalg.norm(whole - found), lost, rtol=1e-4, atol=1e-5 * values[0])
    np.testing.assert_allclose(singular_values(a, b)[: len(values)], values[: min(rank, len(values))], atol=1e-9)


@given(
    values=st.lists(st.floats(0, 1e3), min_size=1, max_size=8).map(lambda one: sorted(one, reverse=True)),
    energy=st.floats(0.01, 1.0),
)
def test_the_fewest_values_that_keep_the_energy_are_left(values: list[float], energy: float) -> None:
    rank = rank_for_energy(torch.tensor(values, dtype=torch.float64), energy=energy)
    squares = np.square(values)
    total = squares.sum()
    assert 1 <= rank <= len(values)
    assert squares[:rank].sum() >= energy * total * (1 - 1e-9)
    assert rank == 1 or squares[: rank - 1].sum() < energy * total


def test_all_of_the_energy_leaves_out_what_is_zero() -> None:
    assert rank_for_energy(torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), energy=1.0) == 2
    assert rank_for_energy(torch.zeros(3, dtype=torch.float64), energy=0.9) == 1


OPTIONS: list[dict[str, Any]] = [
    {"targets": "all-linear", "alpha": 6, "rank_pattern": {"1": 2}},
    {"targets": ["qv", "embeddings"], "rslora": True, "alpha": 2},
    {"targets": "qv", "dora": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: str(options["targets"]))
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_model_at_a_rank_is_the_file_at_that_rank(
    tiny_encoder: Path, tmp_path: Path, options: dict[str, Any], rank: int
) -> None:
    loaded = _load(Case(tiny_encoder))
    torch.manual_seed(0)  # or how much is lost would depend on the tests before
    method = Lora.model_validate({"rank": 5, "truncate": [rank], **options})
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    whole = _logits(model)
    method.save(model, tmp_path / "whole")
    with method.at_rank(model, rank):
        cut = _logits(model)
    assert torch.equal(_logits(model), whole)
    if rank == 5:
        torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-5)
    else:
        assert float((cut - whole).abs().max()) > 1e-2
    method.write_at_rank(tmp_path / "whole", tmp_path / "cut", rank=rank)
    fresh = _load(Case(tiny_encoder), seed=5)
    torch.testing.assert_close(
        _logits(method.load(fresh.model, tmp_path / "cut", head=fresh.head)), cut, rtol=1e-4, atol=1e-5
    )


def test_a_layers_update_is_numpys(tiny_encoder: Path, tmp_path: Path) -> None:
    loaded = _load(Case(tiny_encoder))
    method = Lora(rank=4, alpha=12, rslora=True)
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    method.save(model, tmp_path / "whole")
    name = "bert.encoder.layer.1.attention.self.value"
    layer: Any = model.get_submodule(f"base_model.model.{name}")
    product = layer.lora_B["default"].weight.detach().double() @ layer.lora_A["default"].weight.detach().double()
    left, values, right = np.linalg.svd(6 * product.numpy())  # 12 / √4
    method.write_at_rank(tmp_path / "whole", tmp_path / "cut", rank=2)
    a, b = read_adapter(tmp_path / "cut").update_of(name)
    assert (a.shape, b.shape) == ((2, 32), (32, 2))
    np.testing.assert_allclose(
        (b @ a).numpy(), (left[:, :2] * values[:2]) @ right[:2], rtol=0, atol=1e-6 * values[0] + 1e-7
    )


def test_rewriting_without_a_change_changes_nothing(tiny_encoder: Path, tmp_path: Path) -> None:
    loaded = _load(Case(tiny_encoder))
    method = Lora(rank=4, alpha=2, targets=("all-linear",), rank_pattern={"0": 3, "output.dense": 7})
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    expected = _logits(model)
    method.save(model, tmp_path / "whole")
    ranks = rewrite_adapter(tmp_path / "whole", tmp_path / "again", lambda _, a, b: (a, b))
    assert sorted(set(ranks.values())) == [3, 4, 7]
    fresh = _load(Case(tiny_encoder), seed=5)
    opened = method.load(fresh.model, tmp_path / "again", head=fresh.head)
    torch.testing.assert_close(_logits(opened), expected, rtol=1e-5, atol=1e-6)
