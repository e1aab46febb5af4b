"""LoRA with a head that also sees the document's TF-IDF: wide and deep (Cheng et al. 2016, arXiv 1606.07792)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field

from tanzaku.errors import MethodError
from tanzaku.methods.interface import ParameterGroup
from tanzaku.methods.lora import Lora

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from tanzaku.encoders.pooled import PooledClassifier

_TERMS = "terms"  # the module's name in the model


class LoraTfidf(Lora):
    """`lora`, and a linear layer on the hashed TF-IDF of tokens and pairs of tokens, whose logits are added.

    The two are trained together. With `long_text = "windows"` the terms are those of the whole document.
    """

    paper: ClassVar[str] = "Cheng et al. 2016, arXiv 1606.07792"
    mergeable: ClassVar[bool] = False  # the update is; the terms' layer stays beside the encoder

    buckets: Annotated[
        int, Field(ge=2, description="Entries of the TF-IDF vector, into which all terms are hashed.")
    ] = 16_384
    terms_rate_ratio: Annotated[
        float, Field(gt=0, description="Learning rate of the terms' layer over learning_rate.")
    ] = 15.0

    terms_dropout: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Share of the documents that are classified without their terms while training, so that the "
            "encoder has to learn those too that their terms tell.",
        ),
    ] = 0.0

    def rate_factors(self) -> dict[ParameterGroup, float]:
        """Those of `lora`, and that of the terms' layer: from a sparse input of length 1 it has far to go."""
        return {**super().rate_factors(), "terms": self.terms_rate_ratio}

    def parameter_group(self, name: str, *, head: Sequence[str]) -> ParameterGroup:
        """As `lora`'s, or "terms"."""
        return "terms" if f".{_TERMS}." in name else super().parameter_group(name, head=head)

    def check(self, model: nn.Module) -> None:
        """As `lora`'s; and the head must be one that can see terms."""
        self._check_head(model)
        super().check(model)

    def attach(self, model: nn.Module, *, head: Sequence[str], method: str = "lora+tfidf") -> nn.Module:
        """Add the terms' layer, which begins at zero, and wrap the model in PEFT's LoRA."""
        self._add_terms(model)
        return super().attach(model, head=(*head, _TERMS), method=method)

    def learn_documents(self, model: nn.Module, documents: Iterable[np.ndarray]) -> None:
        """Count in how many training documents each term is."""
        from tanzaku.encoders.terms import term_heads

        first, *copies = term_heads(model)
        first.set_frequencies(documents)
        for copy in copies:  # PEFT keeps the layer as it was beside the one that is trained
            copy.idf.copy_(first.idf)

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str], method: str = "lora+tfidf") -> int:
        """Those of `lora`, and buckets · labels."""
        labels = cast(Any, model).config.num_labels
        return super().trainable_parameters(model, head=head, method=method) + self.buckets * labels

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Add the terms' layer, and open the adapter with PEFT."""
        self._add_terms(model)
        return super().load(model, folder, head=(*head, _TERMS))

    def _add_terms(self, model: nn.Module) -> None:
        self._check_head(model).add_terms(self.buckets, dropout=self.terms_dropout)

    def _check_head(self, model: nn.Module) -> PooledClassifier:
        from tanzaku.encoders.pooled import PooledClassifier

        if not isinstance(model, PooledClassifier):
            raise MethodError(
                'lora+tfidf: the head of pooling = "cls" with long_text = "head" can\'t see terms; choose '
                'pooling = "mean" or "mean+max", or long_text = "windows"'
            )
        return model
