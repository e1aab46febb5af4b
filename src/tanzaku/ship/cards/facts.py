"""What a model card is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tanzaku.encoders.card import is_hub_id
from tanzaku.ship.bundle import (
    BundleFacts,
    CompressionFacts,
    EncoderBundleFacts,
    GraphBundleFacts,
    TextBundleFacts,
    VectorsFacts,
)
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
    def weights_changed(self) -> bool:
        """Whether the run's scores are those of other weights than the model's."""
        return self._exported_in_8_bits or weights_changed(self.facts)

    @property
    def published_splits(self) -> list[Split]:
        """What is known of the model with its present weights."""
        return [] if self._exported_in_8_bits else present_splits(self.facts)

    @property
    def _exported_in_8_bits(self) -> bool:
        return self.form != "bundle" and self.certificate is not None and self.certificate.dtype == "int8"

    @property
    def license(self) -> str | None:
        """The licence that the encoder's card names; None where there is no encoder, or it names none."""
        if isinstance(self.facts, EncoderBundleFacts):
            return self.facts.base.license
        vectors = self.vectors
        return vectors.license if vectors else None

    @property
    def vectors(self) -> VectorsFacts | None:
        """The encoder whose token vectors it has, where it adapts none."""
        return self.facts.vectors if isinstance(self.facts, TextBundleFacts) else None

    @property
    def base_model(self) -> str | None:
        """The encoder's id on the Hub, or that of the model that it was made from; None where none is known."""
        facts = self.facts
        if not isinstance(facts, EncoderBundleFacts):
            if (vectors := self.vectors) is None:
                return None
            return vectors.name if is_hub_id(vectors.name) else vectors.made_from
        return facts.encoder.name if is_hub_id(facts.encoder.name) else facts.base.made_from


@dataclass(frozen=True)
class Split:
    """How well the documents of a split were classified."""

    data: str
    """The name of the data that is split."""
    name: Literal["test", "validation"]
    scores: SplitScores
    macro_f1_interval: tuple[float, float] | None


def measured_splits(facts: BundleFacts) -> list[Split]:
    """The run's, of documents that the model was not trained on; if a test is the validation, only that."""
    run = facts.run
    data = run.data.name
    splits = [] if run.test_is_validation else [Split(data, "test", run.test, run.test_macro_f1_interval)]
    if facts.calibration.documents:
        splits.append(Split(data, "validation", run.val, run.val_macro_f1_interval))
    return splits


def weights_changed(facts: BundleFacts) -> bool:
    """Whether a bundle's weights are others than those that the run measured, by more than rounding in float32."""
    if isinstance(facts, TextBundleFacts):
        return False
    return _is_in_8_bits(facts) or facts.bits is not None or _cut(facts) is not None


def present_splits(facts: BundleFacts) -> list[Split]:
    """What was measured with the weights as they are: the run's splits or, after a change, at most the validation."""
    if isinstance(facts, TextBundleFacts) or not weights_changed(facts):
        return measured_splits(facts)
    if _is_in_8_bits(facts):
        return []
    data = facts.run.data.name
    if (cut := _cut(facts)) is not None:  # only what a run trained is lowered to fewer bits, so a cut is later
        return [Split(cut.val_data or data, "validation", cut.val, None)] if cut.val is not None else []
    lowered = facts.quantized
    return [Split(lowered.val_data, "validation", lowered.val, None)] if lowered is not None else []


def _is_in_8_bits(facts: EncoderBundleFacts | GraphBundleFacts) -> bool:
    """Whether it is a graph whose matrices were lowered to 8 bits by its export."""
    return isinstance(facts, GraphBundleFacts) and facts.weights == "int8"


def _cut(facts: EncoderBundleFacts | GraphBundleFacts) -> CompressionFacts | None:
    """How the adapter was compressed; None where nothing of it was taken away."""
    compressed = facts.compressed
    return compressed if compressed is not None and compressed.kept_energy < 1 else None
