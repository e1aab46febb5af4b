"""What the record of a run and the bundle that is packed from it both say: the data, its scores, its calibration.

A bundle is read without the models of `tanzaku.study.record`, which take long to build.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tanzaku.facts import Facts


class DataFacts(Facts):
    """The data that was used."""

    name: str
    source: Annotated[
        str | None, Field(description='A folder\'s path, or "sample"; None where it was made in Python or is not told.')
    ] = None
    fingerprint: Annotated[str, Field(description="SHA-256 over every text and label of the three splits.")]
    label_names: tuple[str, ...]
    train_documents: int
    val_documents: int
    test_documents: int
    train_documents_per_class: Annotated[tuple[int, ...], Field(description="In the order of the labels.")]


class ClassScores(Facts):
    """One class on one split."""

    precision: float
    recall: float
    f1: float
    support: int
    predicted: Annotated[
        int | None,
        Field(
            exclude_if=lambda number: number is None,
            description="Documents that got this label, in bundles; a record has them in its confusion matrix.",
        ),
    ] = None


class SplitScores(Facts):
    """How well a split was classified, in few words."""

    documents: int
    accuracy: float
    accuracy_interval: Annotated[tuple[float, float], Field(description="95 %, Wilson's, over documents or groups.")]
    macro_f1: float


class CalibrationFacts(Facts):
    """How a model's scores become probabilities: the softmax of scores / temperature."""

    temperature: Annotated[float, Field(gt=0, description="Fitted on the validation documents.")]
    documents: Annotated[int, Field(description="On how many.")]
    evidence: Annotated[
        float,
        Field(ge=0, le=1, description="Their share of what decided it; the rest is the method's typical temperature."),
    ]

    @property
    def few_documents(self) -> bool:
        """Whether the documents decided less about the temperature than the method's typical one did."""
        return self.evidence < 0.5
