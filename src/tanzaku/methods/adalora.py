"""AdaLoRA (Zhang et al. 2023, arXiv 2303.10512), through PEFT: the layers share a budget of ranks by importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tanzaku.errors import MethodError
from tanzaku.methods.labels import OptionLabel, Title
from tanzaku.methods.options import InputDropout
from tanzaku.methods.peft_adapter import PeftMethod, head_settings, wrap
from tanzaku.methods.targets import LinearTargets, find_targets, shape_of

if TYPE_CHECKING:
    from torch import Tensor, nn

_SENSITIVITY, _UNCERTAINTY, _KEPT = "sensitivity", "uncertainty", "kept"


def _half_as_much_again(options: Mapping[str, Any]) -> int:
    """The paper's experiments begin with 1.5 times the final budget; rounded up."""
    return -(-3 * int(options["rank"]) // 2)


class AdaLora(PeftMethod):
    """W' = W + (α/r₀)·B·E·A with a diagonal E (equation 3); what matters little is set to 0 in E until the budget is
    met. The head is trained in full."""

    name: ClassVar[str] = "adalora"
    title: ClassVar[Title] = Title("AdaLoRA")
    paper: ClassVar[str] = "Zhang et al. 2023, arXiv 2303.10512"

    rank: Annotated[int, Field(ge=1, description="Mean rank r of a layer's update, when all is allocated.")] = 8
    initial_rank: Annotated[
        int, Field(ge=2, description="Rank r₀ of every layer's update at first, more than rank; else 1.5 times rank.")
    ] = Field(default_factory=_half_as_much_again)
    alpha: Annotated[
        Literal["rank"] | Annotated[float, Field(gt=0)],
        Field(description='α of the scale α/r₀: a number, or "rank" for α = r₀ (scale 1).'),
        OptionLabel("α = {value}", values={"rank": "r"}),
    ] = "rank"
    dropout: InputDropout = 0.0
    targets: Annotated[LinearTargets, Field(description="The layers to update, as for `lora`; not embeddings.")] = (
        "query",
        "value",
    )
    initial_share: Annotated[
        float, Field(ge=0, lt=1, description="Share of all steps, from the first, at the initial rank.")
    ] = 0.1
    final_share: Annotated[
        float, Field(ge=0, lt=1, description="Share of all steps, up to the last, with the ranks as they came out.")
    ] = 0.5
    interval: Annotated[int, Field(ge=1, description="Steps from one allocation to the next.")] = 10
    sensitivity_decay: Annotated[float, Field(gt=0, lt=1, description="β₁, of the mean importance (equation 9).")] = (
        0.85
    )
    uncertainty_decay: Annotated[float, Field(gt=0, lt=1, description="β₂, of its mean change (equation 10).")] = 0.85
    orthogonality: Annotated[
        float, Field(ge=0, description="Weight γ of the penalty that keeps the rows of A, and the columns of B, apart.")
    ] = 0.5

    @model_validator(mode="after")
    def _something_to_allocate(self) -> AdaLora:
        if self.initial_rank <= self.rank:
            raise ValueError(
                f"initial_rank = {self.initial_rank} must be more than rank, which is {self.rank}; leave it out for "
                "half as much again"
            )
        if self.initial_share + self.final_share >= 1:
            raise ValueError(
                f"initial_share = {self.initial_share} and final_share = {self.final_share} leave no steps in which "
                "ranks are allocated; together they must be less than 1"
            )
        return self

    @property
    def _alpha(self) -> float:
        return float(self.initial_rank) if self.alpha == "rank" else float(self.alpha)

    def details(self) -> dict[str, float | int | str]:
        """The effective scale α/r₀."""
        return {"scale": self._alpha / self.initial_rank}

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Wrap the model in PEFT's `PeftModelForSequenceClassification`."""
        from peft import AdaLoraConfig

        alpha = self._alpha
        config = AdaLoraConfig(
            target_r=self.rank,
            init_r=self.initial_rank,
            lora_alpha=int(alpha) if alpha.is_integer() else alpha,
            lora_dropout=self.dropout,
            target_modules=list(find_targets(model, self.targets, head=head)),
            deltaT=self.interval,
            beta1=self.sensitivity_decay,
            beta2=self.uncertainty_decay,
            orth_reg_weight=self.orthogonality,
            total_step=1,  # the training knows: see `on_step`
            **head_settings(head),
        )
        return wrap(model, config)

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """Σ r₀·(inputs + outputs + 1) over the targeted layers, before any is left out, and the head."""
        from tanzaku.methods.weights import head_parameters

        layers = find_targets(model, self.targets, head=head).values()
        updates = sum(self.initial_rank * (sum(shape_of(layer)) + 1) for layer in layers)
        return updates + head_parameters(model, head)

    def penalty(self, model: nn.Module) -> Tensor | None:
        """γ times the mean of ‖A Aᵀ - I‖ and ‖Bᵀ B - I‖ over all layers (equation 4; the norm as PEFT has it)."""
        import torch

        if not self.orthogonality:
            return None
        distances = []
        for name, parameter in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                narrow = parameter if ".lora_A." in name else parameter.T  # (rank, size)
                identity = torch.eye(len(narrow), dtype=narrow.dtype, device=narrow.device)
                distances.append(torch.linalg.matrix_norm(narrow @ narrow.T - identity))
        return self.orthogonality * torch.stack(distances).mean()

    def on_step(self, model: nn.Module, *, step: int, total_steps: int) -> None:
        """Measure importance, and set to 0 what is over the step's budget (algorithm 1)."""
        tuner: Any = model.base_model
        config = tuner.peft_config[tuner.trainable_adapter_name]
        config.total_step = total_steps
        config.tinit, config.tfinal = int(self.initial_share * total_steps), int(self.final_share * total_steps)
        if total_steps - config.tfinal < 2:
            raise MethodError(
                f"a training of {total_steps} steps leaves none in which ranks are allocated; train for more "
                "epochs, or set final_share to less"
            )
        tuner.update_and_allocate(step)

    def step_state(self, model: nn.Module) -> dict[str, Tensor]:
        """The running means of importance and of its change, and which ranks are kept."""
        import torch

        tuner: Any = model.base_model
        allocator, config = tuner.rankallocator, tuner.peft_config[tuner.trainable_adapter_name]
        state = {f"{_SENSITIVITY}.{name}": tensor for name, tensor in allocator.exp_avg_ipt.items()}
        state |= {f"{_UNCERTAINTY}.{name}": tensor for name, tensor in allocator.exp_avg_unc.items()}
        pattern = config.rank_pattern or {}
        return state | {f"{_KEPT}.{name}": torch.tensor(kept) for name, kept in pattern.items()}

    def restore_step_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Give them to PEFT's allocator."""
        import torch

        tuner: Any = model.base_model
        allocator, config = tuner.rankallocator, tuner.peft_config[tuner.trainable_adapter_name]
        parameters = dict(tuner.model.named_parameters())
        pattern: dict[str, list[bool]] = {}
        for key, tensor in state.items():
            kind, _, name = key.partition(".")
            if kind == _KEPT:
                pattern[name] = tensor.tolist()
                continue
            means = allocator.exp_avg_ipt if kind == _SENSITIVITY else allocator.exp_avg_unc
            means[name] = tensor.to(parameters[name].device)
            allocator.ipt[name] = torch.zeros_like(parameters[name])  # made again at each step
        config.rank_pattern = pattern or None

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write `adapter_model.safetensors` and `adapter_config.json`, which plain PEFT opens; once ranks were
        allocated, without those whose E is 0."""
        tuner: Any = model.base_model
        (config,) = tuner.peft_config.values()
        allocated = config.rank_pattern
        # What is saved may be an earlier epoch than the last allocation.
        config.rank_pattern = _kept_ranks(tuner.model) if allocated else None
        super().save(model, folder)
        config.rank_pattern = allocated


def _kept_ranks(model: nn.Module) -> dict[str, list[bool]]:
    """By the names of the E: which ranks are not 0; one at least, since an empty matrix is no layer."""
    kept = {
        name: (parameter != 0).flatten().tolist() for name, parameter in model.named_parameters() if ".lora_E." in name
    }
    return {name: ranks if any(ranks) else [True, *ranks[1:]] for name, ranks in kept.items()}
