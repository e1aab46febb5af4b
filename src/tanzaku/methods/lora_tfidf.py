"""LoRA with a head that also sees the document's TF-IDF: wide and deep (Cheng et al. 2016, arXiv 1606.07792)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from tanzaku.errors import MethodError
from tanzaku.methods.labels import Title
from tanzaku.methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn

    from tanzaku.encoders.pooled import PooledClassifier

_TERMS = "terms"  # the module's name in the model


class LoraTfidf(Lora):
    """`lora`, and a linear layer on the TF-IDF of tokens and pairs of tokens, whose logits are added.

    That layer is fitted first, as a linear support vector machine, and not trained; the LoRA and the head then learn
    what it misses.
    With `long_text = "windows"` the terms are those of the whole document.
    """

    name: ClassVar[str] = "lora+tfidf"
    title: ClassVar[Title] = Title("LoRA + TF-IDF", short="LoRA+TF-IDF")
    table_order: ClassVar[int] = 5
    paper: ClassVar[str] = "Cheng et al. 2016, arXiv 1606.07792"
    opens_in_peft: ClassVar[bool] = False
    mergeable: ClassVar[bool] = False  # the update is; the terms' layer stays next to the encoder

    max_terms: Annotated[
        int, Field(ge=1, description="The terms that are kept: those that the most training documents have.")
    ] = 8192
    terms_penalty: Annotated[float, Field(gt=0, description="C of the support vector machine on the terms.")] = 5.0

    def check(self, model: nn.Module, *, head: Sequence[str] = ()) -> None:
        """As `lora`'s; and the head must be one that can see terms."""
        self._check_head(model)
        super().check(model, head=head)

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Add the terms' layer, which begins at zero, and wrap the model in PEFT's LoRA."""
        self._add_terms(model)
        return super().attach(model, head=(*head, _TERMS))

    def learn_documents(self, model: nn.Module, batches: Iterable[Any]) -> None:
        """Choose the terms and fit their layer."""
        from tanzaku.encoders.terms import term_heads

        first, *copies = term_heads(model)
        first.learn(batches, penalty=self.terms_penalty)
        for copy in copies:  # PEFT keeps the layer as it was next to the one that is saved
            copy.take_over(first)

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Add the terms' layer, and open the adapter with PEFT."""
        self._add_terms(model)
        return super().load(model, folder, head=(*head, _TERMS))

    def _add_terms(self, model: nn.Module) -> None:
        self._check_head(model).add_terms(self.max_terms)

    def _check_head(self, model: nn.Module) -> PooledClassifier:
        from tanzaku.encoders.pooled import PooledClassifier

        if not isinstance(model, PooledClassifier):
            raise MethodError(
                'the head of pooling = "cls" with long_text = "head" can\'t see terms; choose '
                'pooling = "mean" or "mean+max", or long_text = "windows"'
            )
        return model
