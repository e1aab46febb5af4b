"""AdamW with the settings of Hugging Face's `Trainer`, and Muon for hidden matrices."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from tanzaku.errors import EncoderError
from tanzaku.methods.targets import place_of

_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|[._])norm($|\.)", re.IGNORECASE)


def build_adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    without: Collection[str] = (),
    group_of: Callable[[str], str] = lambda _: "other",
    group_rates: Mapping[str, float] = MappingProxyType({}),
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) over the trainable parameters that `without` does not name.

    Biases and normalisation weights are not decayed. PyTorch's fused kernel is used, as `Trainer` uses it. A parameter
    that `group_of` puts, by its name, into a group of `group_rates` has that rate instead of `learning_rate`; the
    optimiser's group is called so (`name`), and those of all other parameters `""`.
    """
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or name in without:
            continue
        own = group_of(name) if group_rates else ""
        group, decayed = own if own in group_rates else "", not _NO_DECAY.search(name)
        entry = {"params": [], "name": group, "lr": group_rates.get(group, learning_rate)}
        entry["weight_decay"] = weight_decay if decayed else 0.0
        groups.setdefault((group, decayed), entry)["params"].append(parameter)
    return torch.optim.AdamW(
        list(groups.values()),
        lr=learning_rate,
        betas=(beta1, beta2),
        eps=epsilon,
        fused=True,
    )


def hidden_matrices(model: nn.Module) -> list[str]:
    """The names of the trainable (out, in) weights of linear maps inside the transformer layers."""
    owners = dict(model.named_modules())
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and parameter.ndim == 2
        and place_of(name)
        and not isinstance(owners[name.rpartition(".")[0]], nn.Embedding)
    ]


def build_muon(model: nn.Module, *, learning_rate: float, weight_decay: float = 0.0) -> torch.optim.Muon:
    """Muon over the `hidden_matrices`: momentum, made orthogonal by five Newton-Schulz iterations.

    Momentum 0.95 (Nesterov's), the iteration's coefficients and the factor √max(1, out/in) on the rate are those of
    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the weight decay is decoupled.

    Raises:
        EncoderError: The model has no such matrix.
    """
    parameters = dict(model.named_parameters())
    matrices = [parameters[name] for name in hidden_matrices(model)]
    if not matrices:
        raise EncoderError("muon finds no transformer layers with weight matrices in this encoder; use adamw")
    return torch.optim.Muon(matrices, lr=learning_rate, weight_decay=weight_decay)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer], model: nn.Module
) -> dict[str, Tensor]:
    """The state as tensors named `optimizer.<field>.<parameter>`, of one optimiser or of several that share a model."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"optimizer.{field}.{names[id(parameter)]}": tensor
        for one in _several(optimizer)
        for parameter, fields in one.state.items()
        for field, tensor in fields.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    model: nn.Module,
    tensors: Mapping[str, Tensor],
) -> None:
    """Put back what `optimizer_tensors` gave, onto the parameters of the same names, each at its own optimiser."""
    parameters = dict(model.named_parameters())
    owners = {
        id(parameter): one for one in _several(optimizer) for group in one.param_groups for parameter in group["params"]
    }
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind != "optimizer":
            continue
        field, _, name = rest.partition(".")
        parameter = parameters[name]
        state: dict[str, Any] = owners[id(parameter)].state[parameter]
        state[field] = tensor.to(parameter.device)


def _several(
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
) -> Sequence[torch.optim.Optimizer]:
    return [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else optimizer
