"""Which optimiser trains what, one step of Muon by hand, and states that are put back."""

import math

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, BertConfig, DebertaV2Config, DistilBertConfig, ModernBertConfig

from tanzaku.errors import EncoderError
from tanzaku.training.optimizer import (
    build_adamw,
    build_muon,
    hidden_matrices,
    optimizer_tensors,
    restore_optimizer,
)

_SIZES = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_SPECIAL = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")}
_CONFIGS = {
    "bert": BertConfig(**_SIZES, intermediate_size=64),
    "deberta": DebertaV2Config(**_SIZES, intermediate_size=64, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "distilbert": DistilBertConfig(vocab_size=40, dim=32, n_layers=2, n_heads=2, hidden_dim=64),
    "modernbert": ModernBertConfig(**_SIZES, **_SPECIAL, intermediate_size=64),
}
_MATRICES_A_LAYER = {"bert": 6, "deberta": 8, "distilbert": 6, "modernbert": 4}


def _model(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = AutoModelForMaskedLM.from_config(_CONFIGS[kind])
    return model


def _backward(model: nn.Module, *, seed: int) -> None:
    ids = torch.randint(40, (2, 8), generator=torch.Generator().manual_seed(seed))
    model(input_ids=ids, labels=ids).loss.backward()


@pytest.mark.parametrize("kind", _CONFIGS)
def test_muon_has_the_layers_matrices_and_adamw_the_rest(kind: str) -> None:
    model = _model(kind)
    matrices = hidden_matrices(model)
    assert len(matrices) == 2 * _MATRICES_A_LAYER[kind]
    parameters = dict(model.named_parameters())
    assert all(parameters[name].ndim == 2 for name in matrices)
    assert not any(word in name for name in matrices for word in ("embedding", "norm", "predictions", "decoder"))
    owned = [
        id(parameter)
        for optimizer in (build_adamw(model, learning_rate=1.0, without=matrices), build_muon(model, learning_rate=1.0))
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert sorted(owned) == sorted(map(id, model.parameters()))


def test_frozen_matrices_are_left_out() -> None:
    model = _model("bert")
    frozen = hidden_matrices(model)[0]
    dict(model.named_parameters())[frozen].requires_grad_(False)
    assert frozen not in hidden_matrices(model)
    with pytest.raises(EncoderError, match="no transformer layers"):
        build_muon(nn.Linear(3, 4), learning_rate=1.0)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Five Newton-Schulz iterations in bfloat16 (Jordan et al. 2024)."""
    wide = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).bfloat16()
    wide = wide / wide.norm()
    for _ in range(5):
        gram = wide @ wide.T
        # Fused, since each rounding to bfloat16 is blown up by 3.4445 in every iteration to come.
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), wide, beta=3.4445)
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.T).float()


def test_two_steps_of_muon_by_hand() -> None:
    model = _model("bert")
    muon = build_muon(model, learning_rate=0.02, weight_decay=0.1)
    parameters = dict(model.named_parameters())
    names = [name for name in hidden_matrices(model) if ".layer.0." in name]
    expected = {name: parameters[name].detach().clone() for name in names}
    momentum = {name: torch.zeros_like(parameters[name]) for name in names}
    for step in range(2):
        model.zero_grad()
        _backward(model, seed=step)
        for name in names:
            gradient = parameters[name].grad
            assert gradient is not None
            momentum[name] = torch.lerp(momentum[name], gradient, 0.05)
            update = _orthogonal(torch.lerp(gradient, momentum[name], 0.95))
            rows, columns = update.shape
            expected[name] *= 1 - 0.02 * 0.1
            expected[name] -= 0.02 * math.sqrt(max(1, rows / columns)) * update
        muon.step()
        for name in names:
            torch.testing.assert_close(parameters[name], expected[name], atol=1e-6, rtol=1e-6)


def test_both_states_are_put_back_each_at_its_own() -> None:
    model, other = _model("bert"), _model("bert")

    def both(model: nn.Module) -> list[torch.optim.Optimizer]:
        adamw = build_adamw(model, learning_rate=1e-3, without=hidden_matrices(model))
        return [adamw, build_muon(model, learning_rate=0.02)]

    def steps(model: nn.Module, optimizers: list[torch.optim.Optimizer], seeds: range) -> None:
        model.eval()
        for seed in seeds:
            _backward(model, seed=seed)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

    before, after = both(model), both(other)
    steps(model, before, range(3))
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(before, model).items()}
    kinds = {name.split(".")[1] for name in tensors}
    assert kinds == {"step", "exp_avg", "exp_avg_sq", "momentum_buffer"}
    other.load_state_dict(model.state_dict())
    restore_optimizer(after, other, tensors)
    steps(model, before, range(3, 5))
    steps(other, after, range(3, 5))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))
