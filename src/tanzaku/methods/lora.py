"""LoRA (Hu et al. 2021, arXiv 2106.09685) and its variants, through PEFT: W' = W + s·B·A on the targeted layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from tanzaku.errors import MethodError
from tanzaku.methods.adapter import rewrite_adapter
from tanzaku.methods.interface import ParameterGroup
from tanzaku.methods.labels import OptionLabel, Title
from tanzaku.methods.options import Alpha, InputDropout, Pooler, Rank
from tanzaku.methods.peft_adapter import head_settings, quiet_peft, wrap
from tanzaku.methods.rank_pattern import ranks_of
from tanzaku.methods.ranked import RankedMethod, named_lora_factors
from tanzaku.methods.targets import EMBEDDINGS, PRESETS, Targets, find_targets, is_embedding, named_presets, shape_of

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import Tensor, nn


# LoRA+ gives the larger rate to the factor that starts at zero: at first the update moves with that one alone, by as
# much as the other holds. PEFT starts B of a linear layer at zero, but A of an embedding, whose B is random.
_FACTOR_GROUPS: dict[str, ParameterGroup] = {
    "lora_A": "lora_a",
    "lora_B": "lora_b",
    "lora_embedding_A": "embeddings_fast",
    "lora_embedding_B": "embeddings",
}

# The names of a PiSSA's first factors in its layers.
_FIRST_A, _FIRST_B = "pissa_first_a", "pissa_first_b"


class Lora(RankedMethod):
    """Low-rank updates of frozen layers; the head is trained in full."""

    settings_without_effect: ClassVar[tuple[str, ...]] = ()

    name: ClassVar[str] = "lora"
    title: ClassVar[Title] = Title("LoRA")
    table_order: ClassVar[int] = 9
    adds_low_rank: ClassVar[bool] = True
    measuring_options: ClassVar[tuple[str, ...]] = ("truncate",)
    paper: ClassVar[str] = "Hu et al. 2021, arXiv 2106.09685"

    rank: Rank = 8
    alpha: Alpha = "rank"
    dropout: InputDropout = 0.0
    targets: Annotated[
        Targets,
        Field(
            description=f"The layers to update: presets ({', '.join(PRESETS)}) or names of linear layers, matched at "
            "the end of the full name.",
        ),
    ] = ("query", "value")
    lora_plus_ratio: Annotated[
        float,
        Field(
            gt=0,
            description="Learning rate of B over that of A (LoRA+); that of A is learning_rate. In embeddings A "
            "has the larger one: it starts at zero.",
        ),
        OptionLabel("LoRA+ {value}"),
    ] = 1.0
    pooler: Pooler = False
    rslora: Annotated[
        bool,
        Field(description="Scale α/√r instead of α/r (Kalajdzievski 2023, arXiv 2312.03732)."),
        OptionLabel("rsLoRA"),
    ] = False
    dora: Annotated[
        bool,
        Field(description="Train the length of each output's weights apart (DoRA, Liu et al. 2024, 2402.09353)."),
        OptionLabel("DoRA"),
    ] = False
    initialization: Annotated[
        Literal["random", "pissa"],
        Field(
            description="A random and B zero, or both from the largest singular values of W, which stay behind (PiSSA, "
            "Meng et al. 2024, arXiv 2404.02948)."
        ),
        OptionLabel("{value}", values={"pissa": "PiSSA"}),
    ] = "random"
    rank_pattern: Annotated[
        dict[str, Annotated[int, Field(ge=1)]],
        Field(description='Other ranks: a table from layer numbers ("11", "0-5") or names ("value") to ranks.'),
        OptionLabel("ranks {value}", ja="ランク {value}"),
    ] = Field(default_factory=dict)
    truncate: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(description="Ranks to which the trained update is also cut, by its singular values, and measured."),
    ] = ()

    @field_validator("initialization")
    @classmethod
    def _pissa_of_matrices(cls, value: str, others: ValidationInfo) -> str:
        if value == "pissa" and EMBEDDINGS in others.data.get("targets", ()):
            raise ValueError("PiSSA begins linear layers alone; leave 'embeddings' out of targets, or choose random")
        return value

    @field_validator("truncate")
    @classmethod
    def _smaller_ranks(cls, value: tuple[int, ...], others: ValidationInfo) -> tuple[int, ...]:
        if not {"rank", "rank_pattern"} <= set(others.data):
            return value  # these are wrong, and that is said already
        largest = max((others.data["rank"], *others.data["rank_pattern"].values()))
        if too_large := [rank for rank in value if rank > largest]:
            raise ValueError(f"{too_large[0]} is more than the largest rank, {largest}; name ranks up to that")
        if len(set(value)) < len(value):
            raise ValueError(f"each rank counts once: write {sorted(set(value))}")
        if value and others.data.get("initialization") == "pissa":
            raise ValueError(
                "while it is trained, a PiSSA's B·A holds most of W itself, so it can't be cut; pack the run and cut "
                "the bundle with `tanzaku compress`, or choose another initialization"
            )
        return value

    def unused_settings(self) -> tuple[str, ...]:
        """The embeddings' rate, where they are not among the targets."""
        return () if EMBEDDINGS in self.targets else ("embeddings_learning_rate",)

    @property
    def measured_ranks(self) -> tuple[int, ...]:
        """The ranks of `truncate`."""
        return self.truncate

    def cut(self, a: Tensor, b: Tensor, *, rank: int) -> tuple[Tensor, Tensor]:
        """The nearest update of that rank."""
        from tanzaku.methods.truncation import truncate

        return truncate(a, b, rank=rank)

    def trained_alone(self, rank: int) -> Lora:
        """A LoRA of no more than that rank in any layer, which `cut` leaves too."""
        pattern = {key: min(own, rank) for key, own in self.rank_pattern.items()}
        return self.model_copy(update={"rank": min(self.rank, rank), "rank_pattern": pattern, "truncate": ()})

    def scale(self, rank: int) -> float:
        """The effective scale s at a layer of this rank: α/r, or α/√r."""
        alpha = rank if self.alpha == "rank" else self.alpha
        return float(alpha / rank**0.5 if self.rslora else alpha / rank)

    def details(self) -> dict[str, float | int | str]:
        """The effective scale, which a fixed α shrinks as the rank grows; one more for each entry of the pattern."""
        pattern = {f"scale of {key}": self.scale(rank) for key, rank in self.rank_pattern.items()}
        return {"scale": self.scale(self.rank), **pattern}

    def parameter_group(self, name: str, *, head: Sequence[str]) -> ParameterGroup:
        """The factor that starts random ("lora_a", of embeddings "embeddings"), the one that starts at zero ("lora_b",
        "embeddings_fast"), the head, or the rest.

        DoRA's lengths are of the rest.
        """
        for part, group in _FACTOR_GROUPS.items():
            if f".{part}." in name:
                return group
        return super().parameter_group(name, head=head)

    def rate_factors(self) -> dict[ParameterGroup, float]:
        """λ of LoRA+ (Hayou et al. 2024, arXiv 2402.12354, section 4): η_B = λ·η_A."""
        if self.lora_plus_ratio == 1.0:
            return {}
        return {"lora_b": self.lora_plus_ratio, "embeddings_fast": self.lora_plus_ratio}

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Wrap the model in PEFT's `PeftModelForSequenceClassification`."""
        ranks = {name: rank for name, (_, rank) in self._targeted(model, head).items()}
        with quiet_peft():  # the configuration warns, too
            adapted = wrap(model, self._config(ranks, head))
        if self.initialization == "pissa":
            _keep_first_factors(adapted)
        return adapted

    def _targeted(self, model: nn.Module, head: Sequence[str]) -> dict[str, tuple[nn.Module, int]]:
        """The targeted layers and their ranks, by their full names."""
        layers = find_targets(model, self.targets, head=head, pooler=self.pooler)
        ranks = ranks_of(layers, pattern=self.rank_pattern, rank=self.rank)
        for name, rank in ranks.items():
            values = min(shape_of(layers[name]))
            if self.initialization == "pissa" and rank > values:
                raise MethodError(
                    f"initialization = 'pissa' takes rank {rank} of {name}, which has {values} singular "
                    "values; choose a smaller rank"
                )
        return {name: (layers[name], rank) for name, rank in ranks.items()}

    def _config(self, ranks: Mapping[str, int], head: Sequence[str]) -> LoraConfig:
        from peft import LoraConfig

        others = {name: rank for name, rank in ranks.items() if rank != self.rank}
        alpha = float(self.rank) if self.alpha == "rank" else float(self.alpha)
        by_name = not self.pooler and not named_presets(self.targets)
        return LoraConfig(
            r=self.rank,
            lora_alpha=int(alpha) if alpha.is_integer() else alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.targets if by_name else ranks),
            use_rslora=self.rslora,
            use_dora=self.dora,
            init_lora_weights="pissa" if self.initialization == "pissa" else True,
            rank_pattern=others,
            alpha_pattern=others if self.alpha == "rank" else {},
            **head_settings(head),
        )

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """Σ r·(inputs + outputs) over the targeted layers (equation 3 of the paper), and the head; DoRA has a length
        for each output besides."""
        from tanzaku.methods.weights import head_parameters

        count = head_parameters(model, head)
        for layer, rank in self._targeted(model, head).values():
            first, second = shape_of(layer)
            outputs = second if is_embedding(layer) else first
            count += rank * (first + second) + (outputs if self.dora else 0)
        return count

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write `adapter_model.safetensors` and `adapter_config.json`, which plain PEFT opens.

        A PiSSA is written as the plain LoRA that it is next to the encoder's own weights, of twice the rank: with W
        = W₀ + s·B₀·A₀, what was learned is s·(B·A − B₀·A₀) = s·[B, −B₀]·[A; A₀] (appendix of the paper).
        """
        super().save(model, folder)
        if self.initialization == "pissa":
            rewrite_adapter(folder, folder, lambda name, a, b: _learned_factors(model, name, a, b))


def _keep_first_factors(model: nn.Module) -> None:
    """Keep a PiSSA's first factors as buffers of their layers: what was learned is the difference from them.

    The buffers are not in the model's state: attaching again makes the same ones.
    """
    for name, (a, b) in named_lora_factors(model).items():
        layer = _lora_layer(model, name)
        layer.register_buffer(_FIRST_A, a.detach().clone(), persistent=False)
        layer.register_buffer(_FIRST_B, b.detach().clone(), persistent=False)


def _learned_factors(model: nn.Module, name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of what a PiSSA has learned in a layer; `b` has the scale in it already."""
    import torch

    layer: Any = _lora_layer(model, name)
    first_a, first_b = (layer.get_buffer(buffer).cpu() for buffer in (_FIRST_A, _FIRST_B))
    return torch.cat([a, first_a]), torch.cat([b, -layer.scaling["default"] * first_b], dim=1)


def _lora_layer(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(f"base_model.model.{name}")
