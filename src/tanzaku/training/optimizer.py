"""AdamW with the settings of Hugging Face's `Trainer`, and the learning rate over time."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|[._])norm($|\.)", re.IGNORECASE)


def build_adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) over the trainable parameters.

    Biases and normalisation weights are not decayed. PyTorch's fused kernel is used, as `Trainer` uses it.
    """
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [parameter for name, parameter in trainable if not _NO_DECAY.search(name)]
    exempt = [parameter for name, parameter in trainable if _NO_DECAY.search(name)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": exempt, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=learning_rate,
        betas=(beta1, beta2),
        eps=epsilon,
        fused=True,
    )


def linear_decay(step: int, *, total_steps: int) -> float:
    """The factor on the learning rate at `step` (from 0): 1 at the first, falling linearly to 0 after the last."""
    return max(0.0, (total_steps - step) / max(1, total_steps))


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state as tensors named `optimizer.<field>.<parameter>`."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"optimizer.{field}.{names[id(parameter)]}": tensor
        for parameter, fields in optimizer.state.items()
        for field, tensor in fields.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, onto the parameters of the same names."""
    parameters = dict(model.named_parameters())
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind != "optimizer":
            continue
        field, _, name = rest.partition(".")
        state: dict[str, Any] = optimizer.state[parameters[name]]
        state[field] = tensor.to(parameters[name].device)
