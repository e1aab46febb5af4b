"""Full fine-tuning: every weight of the encoder and the head is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from tanzaku.methods.interface import EncoderMethod, ParameterGroup
from tanzaku.methods.labels import Title
from tanzaku.methods.targets import names_word_table, reads_entities

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class Full(EncoderMethod):
    """Trains all weights (Devlin et al. 2019, section 4)."""

    name: ClassVar[str] = "full"
    title: ClassVar[Title] = Title("Full fine-tuning", ja="フルファインチューニング", short="Full")
    table_order: ClassVar[int] = 2
    paper: ClassVar[str] = "Devlin et al. 2019, arXiv 1810.04805"
    saves_whole_model: ClassVar[bool] = True
    settings_without_effect: ClassVar[tuple[str, ...]] = ()

    def parameter_group(self, name: str, *, head: Sequence[str]) -> ParameterGroup:
        """The head, the table of word embeddings, or the rest."""
        return "embeddings" if names_word_table(name) else super().parameter_group(name, head=head)

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Make every parameter trainable that a text uses."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not reads_entities(name))
        return model

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """All parameters that a text uses."""
        return sum(parameter.numel() for name, parameter in model.named_parameters() if not reads_entities(name))

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write `model.safetensors` and `config.json`, which plain transformers opens."""
        from tanzaku.encoders.quiet import quiet_transformers

        with quiet_transformers():
            cast("PreTrainedModel", model).save_pretrained(folder)

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Put the saved weights onto `model`."""
        from tanzaku.methods.weights import load_whole_model

        return load_whole_model(model, folder / "model.safetensors")

    def merge(self, model: nn.Module) -> nn.Module:
        """The model is plain already."""
        return model
