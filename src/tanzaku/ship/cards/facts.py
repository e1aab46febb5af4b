"""What a model card is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tanzaku.encoders.card import is_hub_id
from tanzaku.ship.bundle import BundleFacts, EncoderBundleFacts
from tanzaku.ship.certificate import Certificate, Form
from tanzaku.study.summary import SplitScores


@dataclass(frozen=True)
class CardFacts:
    """What a card is about."""

    facts: BundleFacts
    """Of the bundle, or of the one that was exported."""
    form: Form
    certificate: Certificate | None
    size_bytes: int
    snippet: Sequence[str]
    """The lines of Python that use an export to another library."""
    install: Sequence[str]
    """The lines for the shell that install what it needs; for what Tanzaku reads, in the folder with its clone."""

    @property
    def name(self) -> str:
        """The model's name: the data and the method."""
        return f"{self.facts.run.data.name}-{self.facts.method['name']}"

    @property
    def is_bundle(self) -> bool:
        """Whether `tanzaku classify` reads it."""
        return self.form in ("bundle", "onnx", "openvino")

    @property
    def license(self) -> str | None:
        """The licence that the encoder's card names; None where there is no encoder, or it names none."""
        return self.facts.base.license if isinstance(self.facts, EncoderBundleFacts) else None

    @property
    def base_model(self) -> str | None:
        """The encoder's id on the Hub, or that of the model that it was made from; None where none is known."""
        facts = self.facts
        if not isinstance(facts, EncoderBundleFacts):
            name = str(facts.method.get("vectors_from", ""))
            return name if is_hub_id(name) else None
        return facts.encoder.name if is_hub_id(facts.encoder.name) else facts.base.made_from


@dataclass(frozen=True)
class Split:
    """How well the documents of a split were classified, by the weights as trained."""

    name: Literal["test", "validation"]
    scores: SplitScores
    macro_f1_interval: tuple[float, float] | None


def measured_splits(facts: BundleFacts) -> list[Split]:
    """Those whose documents the model was not trained on; if a test is the validation, only that."""
    run = facts.run
    splits = [] if run.test_is_validation else [Split("test", run.test, run.test_macro_f1_interval)]
    if facts.calibration.documents:
        splits.append(Split("validation", run.val, run.val_macro_f1_interval))
    return splits
