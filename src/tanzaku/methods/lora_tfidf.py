"""LoRA, and a support vector machine on the document's TF-IDF, whose scores are added (stacking, Wolpert 1992)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field

from tanzaku.errors import MethodError
from tanzaku.methods.adapter import WEIGHTS_FILE
from tanzaku.methods.interface import HeldOut
from tanzaku.methods.labels import Title
from tanzaku.methods.lora import Lora

if TYPE_CHECKING:
    import numpy as np
    from peft import PeftModel
    from torch import nn

    from tanzaku.encoders.pooled import PooledClassifier
    from tanzaku.encoders.terms import TermHead

_TERMS = "terms"  # the module's name in the model

# The factors on the LoRA's logits and on the machine's distances, and how far their logarithms usually lie from these:
# long documents with thousands of labels want 0.5 and 4, and 200 short ones 1.4 and 2.5.
_TYPICAL_FACTORS = (0.8, 3.0)
_SPREAD = 1.0


class LoraTfidf(Lora):
    """`lora`, and a linear support vector machine on the TF-IDF of tokens and short sequences of them.

    Each learns by itself. The logits are the sum of both, with two factors that are fitted on the validation documents.
    With `long_text = "windows"` the terms are those of the whole document. What is saved has 16 bits, and the terms'
    weights have 8.
    """

    name: ClassVar[str] = "lora+tfidf"
    title: ClassVar[Title] = Title("LoRA + TF-IDF", short="LoRA+TF-IDF")
    table_order: ClassVar[int] = 5
    paper: ClassVar[str] = "Wolpert 1992, Neural Networks 5"
    bytes_per_parameter: ClassVar[int] = 2
    options_after_training: ClassVar[tuple[str, ...]] = ("max_terms", "longest_ngram", "terms_penalty")
    opens_in_peft: ClassVar[bool] = False
    mergeable: ClassVar[bool] = False  # the update is; the terms' layer stays next to the encoder

    max_terms: Annotated[
        int, Field(ge=1, description="The terms that are kept: those that depend most on the class.")
    ] = 32768
    longest_ngram: Annotated[int, Field(ge=1, le=3, description="Terms have one to this many tokens.")] = 3
    terms_penalty: Annotated[float, Field(gt=0, description="C of the support vector machine on the terms.")] = 5.0

    def check(self, model: nn.Module, *, head: Sequence[str] = ()) -> None:
        """As `lora`'s; and the head must be one that can see terms."""
        self._check_head(model)
        super().check(model, head=head)

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Add the terms' layer, which is empty at first, and wrap the model in PEFT's LoRA."""
        self._check_head(model).add_terms()
        return super().attach(model, head=(*head, _TERMS))

    def trained_like(self) -> Lora | None:
        """The LoRA without the terms, which are learned after the training; a PiSSA is saved as another than it is."""
        if self.initialization == "pissa":
            return None
        return Lora(**{name: getattr(self, name) for name in Lora.model_fields})

    def take_over(self, model: nn.Module, folder: Path) -> None:
        """Put the saved LoRA and its head into the model."""
        from peft import set_peft_model_state_dict
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from tanzaku.encoders.terms import term_heads

        empty = term_heads(model)[0].state_dict()  # PEFT wants all that it would have saved
        try:
            weights = load_file(folder / WEIGHTS_FILE)
            weights |= {f"base_model.model.{_TERMS}.{name}": tensor for name, tensor in empty.items()}
            set_peft_model_state_dict(model, weights)
        except (OSError, ValueError, RuntimeError, LookupError, SafetensorError) as error:
            raise MethodError(f"{folder} can't be read as a saved LoRA ({error}); remove the run's folder") from error

    def learn_documents(self, model: nn.Module, train: Iterable[Any], held_out: HeldOut | None) -> None:
        """Choose the terms, fit their layer, and weigh it against the LoRA; then round everything as it is saved."""
        import torch

        from tanzaku.encoders.terms import term_heads

        terms, *copies = term_heads(model)
        on_logits, on_scores = self._fit(terms, train, held_out)
        head = cast("PeftModel", model).get_base_model().classifier
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with torch.no_grad():
            for parameter in head.parameters():
                if parameter.requires_grad:
                    parameter *= on_logits
            terms.multiply(on_scores)
            terms.round()
            for parameter in trained:
                parameter.copy_(parameter.half())
        for copy in copies:  # PEFT keeps the layer as it was next to the one that is saved
            copy.take_over(terms)

    def _fit(self, terms: TermHead, train: Iterable[Any], held_out: HeldOut | None) -> tuple[float, ...]:
        """Fit the terms' layer, and the factors on the LoRA's logits and on its scores."""
        import numpy as np

        from tanzaku.measure.calibration import fit_factors

        logits = None if held_out is None else held_out.logits()  # before there are terms
        terms.learn(train, terms=self.max_terms, longest_ngram=self.longest_ngram, penalty=self.terms_penalty)
        if held_out is None or logits is None:
            return _TYPICAL_FACTORS
        scores, classes = zip(
            *((_scores(terms, batch), batch.labels.numpy()) for batch in held_out.batches), strict=True
        )
        return fit_factors(
            [logits, np.concatenate(scores)], np.concatenate(classes), typical=_TYPICAL_FACTORS, spread=_SPREAD
        )

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the adapter with the terms' layer, in as few bits as `learn_documents` has rounded them to."""
        import torch
        from safetensors.torch import load_file, save_file

        super().save(model, folder)
        tensors = load_file(folder / WEIGHTS_FILE)
        for name, tensor in tensors.items():
            if name.endswith(f".{_TERMS}.weight"):
                tensors[name] = tensor.to(torch.int8)
            elif tensor.is_floating_point():
                tensors[name] = tensor.half()
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Add the terms' layer, and open the adapter with PEFT."""
        self._check_head(model).add_terms()
        return super().load(model, folder, head=(*head, _TERMS))

    def _check_head(self, model: nn.Module) -> PooledClassifier:
        from tanzaku.encoders.pooled import PooledClassifier

        if not isinstance(model, PooledClassifier):
            raise MethodError(
                'the head of pooling = "cls" with long_text = "head" can\'t see terms; choose '
                'pooling = "mean" or "mean+max", or long_text = "windows"'
            )
        return model


def _scores(terms: TermHead, batch: Any) -> np.ndarray:
    """The terms' scores of the documents, (documents, labels) float32."""
    import torch

    on_device = batch.to(terms.bias.device)
    with torch.no_grad():
        scores: np.ndarray = terms(on_device.input_ids, on_device.attention_mask, on_device.documents).cpu().numpy()
    return scores
