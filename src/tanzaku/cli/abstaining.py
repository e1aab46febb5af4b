"""The options by which `tanzaku classify` leaves unsure texts to people."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tanzaku.display import plain_console
from tanzaku.errors import DataError

if TYPE_CHECKING:
    from tanzaku.analysis.abstention import Threshold
    from tanzaku.ship.classifier import Classifier

_CONFIDENCE = "95%"


@dataclass(frozen=True)
class Promise:
    """Options for an error rate that is promised."""

    error_rate: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Answer as many texts as possible so that at most this share of the answers are wrong, such as 2%.",
        ),
    ] = None
    confidence: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT", help="Confidence with which --error-rate is promised.", show_default=_CONFIDENCE
        ),
    ] = None

    def threshold(self, classifier: "Classifier") -> "Threshold | None":
        """The threshold that the error rate needs; None where no rate is asked for."""
        if self.error_rate is None:
            return None
        confidence = share(self.confidence or _CONFIDENCE, option="--confidence")
        return classifier.threshold(share(self.error_rate, option="--error-rate"), confidence=confidence)

    def check(self) -> None:
        """Refuse options without effect and values that are not percentages, before a model is loaded."""
        if self.confidence is not None:
            share(self.confidence, option="--confidence")
        if self.error_rate is not None:
            share(self.error_rate, option="--error-rate")
        elif self.confidence is not None:
            raise DataError(f"--confidence {self.confidence} only has an effect with --error-rate; give that too")


@dataclass(frozen=True)
class Answers:
    """Which texts are answered: those from a probability on, or all."""

    minimum: float | None
    otherwise: str

    def report(self, *, answered: int, texts: int) -> None:
        """Print the coverage, if texts may have been left without an answer."""
        if self.minimum is None or not texts:
            return
        rest = f"; the others have the label {self.otherwise!r}" if answered < texts else ""
        plain_console(stderr=True, soft_wrap=True).print(
            f"{answered:,} of {texts:,} texts are answered ({100 * answered / texts:.1f} %){rest}."
        )


@dataclass(frozen=True)
class Abstaining:
    """Options for texts that are not answered."""

    min_probability: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="Answer only texts with at least this probability, such as 80%."),
    ] = None
    otherwise: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="Label of the texts that are not answered.", show_default='""'),
    ] = None

    def check(self, promise: Promise) -> None:
        """Refuse options that can't be combined, before a model is loaded."""
        promise.check()
        if self.min_probability is not None:
            share(self.min_probability, option="--min-probability")
        if self.min_probability is not None and promise.error_rate is not None:
            raise DataError("--min-probability and --error-rate both set the threshold; give one of them")
        if self.otherwise is not None and self.min_probability is None and promise.error_rate is None:
            raise DataError(
                f"--otherwise {self.otherwise} only has an effect with --min-probability or --error-rate; give one of "
                "them too"
            )

    def answers(self, promise: Promise, classifier: "Classifier") -> Answers:
        """Which texts are answered; what is promised of them is printed."""
        minimum = None
        if self.min_probability is not None:
            minimum = share(self.min_probability, option="--min-probability")
        elif threshold := promise.threshold(classifier):
            plain_console(stderr=True, soft_wrap=True).print(describe(threshold))
            minimum = threshold.probability
        return Answers(minimum, self.otherwise or "")


def describe(threshold: "Threshold") -> str:
    """What is promised, and what was seen on the validation documents, or on those of a cross-validation."""
    documents, of_these = "validation documents", "of one document from each group" if threshold.grouped else "of these"
    if threshold.cross_validated:
        documents = "documents of its cross-validation"
        of_these += ", each of which was classified by a model that was not trained on it"
    return (
        f"Texts are answered from a probability of {100 * threshold.probability:.2f} % on. With "
        f"{100 * threshold.confidence:g} % confidence, at most {100 * threshold.error_rate:g} % of the answers are "
        f"wrong, for texts that are like the {documents}: {of_these}, {threshold.answered:,} of "
        f"{threshold.documents:,} ({100 * threshold.coverage:.1f} %) are answered, {threshold.wrong:,} of them wrongly."
    )


def share(text: str, *, option: str) -> float:
    """A percentage such as "2%" as a share between 0 and 1."""
    number = text.strip().removesuffix("%").removesuffix("％").strip()
    try:
        value = float(number) / 100
    except ValueError:
        value = float("nan")
    if number == text.strip() or not 0 < value < 1:
        raise DataError(f"{option} {text} is not a percentage over 0% and below 100%; write it such as 2% or 99.5%")
    return value
