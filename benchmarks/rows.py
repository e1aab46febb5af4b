"""From the numbers of all rounds to the rows of a record: medians, spreads, comparisons."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.documents import step_documents
from benchmarks.flops import lora_step_flops
from benchmarks.products import PRECISIONS
from benchmarks.scale import LABELS, Scale
from benchmarks.streaming import why_not
from benchmarks.suite import Measurement
from benchmarks.trainers import THESIS_RANK

RATIO = "ratio"
SHARE = "lora_step_base_share_of_limit"

# What is compared: {row: (numerator, denominator)}. Of seconds, the rival's over ours; of rates, ours over the rival's:
# both say how many times as fast Tanzaku is. Of memory, ours over the rival's.
COMPARISONS: dict[str, tuple[str, str]] = {
    "lora_step_base_vs_trainer": ("lora_step_base_trainer", "lora_step_base_tanzaku"),
    "lora_step_base_vs_tuned_trainer": ("lora_step_base_tuned_trainer", "lora_step_base_tanzaku"),
    "lora_step_base_thesis_settings_vs_trainer": ("lora_step_base_trainer", "lora_step_base_tanzaku_thesis"),
    "lora_step_mini_vs_trainer": ("lora_step_mini_trainer", "lora_step_mini_tanzaku"),
    "full_step_base_vs_trainer": ("full_step_base_trainer", "full_step_base_tanzaku"),
    "full_step_mini_vs_trainer": ("full_step_mini_trainer", "full_step_mini_tanzaku"),
    "lora_all_linear_step_vs_full_step_mini": ("lora_all_linear_step_mini_tanzaku", "full_step_mini_tanzaku"),
    "classify_base_vs_pipeline": ("classify_base_tanzaku", "classify_base_pipeline"),
    "tokenize_vs_reference": ("tokenize_tanzaku", "tokenize_reference"),
    "train_memory_vs_trainer": ("train_memory_tanzaku", "train_memory_trainer"),
    "classify_memory_million_vs_ten_thousand": ("classify_memory_million", "classify_memory_ten_thousand"),
}
ROW_NAMES = (*COMPARISONS, SHARE)


@dataclass(frozen=True)
class Row:
    """One row: `value` is the median over the rounds, `spread` the lowest and the highest of them."""

    name: str
    value: float
    spread: tuple[float, float]
    unit: str

    @classmethod
    def of(cls, name: str, numbers: Sequence[float], *, unit: str) -> "Row":
        """The row of a number for each round."""
        return cls(name, statistics.median(numbers), (min(numbers), max(numbers)), unit)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a record."""
        return {**asdict(self), "spread": list(self.spread)}


def rows_of(chosen: Sequence[Measurement], numbers: Mapping[str, Sequence[float]], *, scale: Scale) -> list[Row]:
    """The comparisons whose two sides were measured, the share of the limit, then every measurement itself.

    A comparison is made within each round, where its two sides stand close in time, and only then over the rounds.
    """
    rows = [
        Row.of(name, [one / other for one, other in zip(numbers[left], numbers[right], strict=True)], unit=RATIO)
        for name, (left, right) in COMPARISONS.items()
        if left in numbers and right in numbers
    ]
    if shares := _shares_of_limit(numbers, scale):
        rows.append(Row.of(SHARE, shares, unit=RATIO))
    return rows + [Row.of(one.name, numbers[one.name], unit=one.unit) for one in chosen]


def skipped_rows() -> list[dict[str, str]]:
    """The comparisons that this version can't make, with the reason."""
    reason = why_not()
    return [] if reason is None else [{"name": "classify_memory_million_vs_ten_thousand", "reason": reason}]


def _shares_of_limit(numbers: Mapping[str, Sequence[float]], scale: Scale) -> list[float]:
    """For each round, (operations / the fastest precision's operations a second) / measured seconds."""
    steps = numbers.get("lora_step_base_tanzaku")
    limits = [numbers[name] for precision in PRECISIONS if (name := f"product_base_{precision}") in numbers]
    if steps is None or not limits:
        return []
    documents = step_documents(scale.steps, max_tokens=scale.max_tokens, vocabulary=scale.base.vocabulary)
    operations = lora_step_flops(documents.lengths(), shape=scale.base, rank=THESIS_RANK, labels=LABELS) / scale.steps
    return [operations / (max(gflops) * 1e9) / seconds for seconds, *gflops in zip(steps, *limits, strict=True)]
