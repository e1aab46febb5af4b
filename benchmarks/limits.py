"""What a machine allows: the arithmetic alone, at the speed of its matrix products, beside the rival as measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.documents import step_documents
from benchmarks.flops import forward_flops, lora_step_flops
from benchmarks.lengths import TEST, spread_evenly
from benchmarks.products import PRECISIONS
from benchmarks.scale import LABELS, Scale, ShapeName
from benchmarks.trainers import THESIS_RANK


@dataclass(frozen=True)
class Limit:
    """Of one comparison: its arithmetic, the seconds that this takes at best, and how many times as fast that is."""

    name: str
    flops: float
    seconds: float
    times: float


def limits_of(record: Mapping[str, Any]) -> list[Limit]:
    """Those of the comparisons of a record for which it has the rival and the products: of a step, or a document."""
    scale = Scale.model_validate(record["scale"])
    rows = {row["name"]: row["value"] for row in record["rows"]}
    lengths = spread_evenly(TEST, scale.classified, max_tokens=scale.max_tokens).tolist()
    document = forward_flops(lengths, shape=scale.base, labels=LABELS) / len(lengths)
    rate = rows.get("classify_base_pipeline")
    wanted: list[tuple[str, ShapeName, float, float | None]] = [
        ("lora_step_base_vs_trainer", "base", _step_flops(scale, "base"), rows.get("lora_step_base_trainer")),
        ("lora_step_mini_vs_trainer", "mini", _step_flops(scale, "mini"), rows.get("lora_step_mini_trainer")),
        ("classify_base_vs_pipeline", "base", document, 1 / rate if rate else None),
    ]
    limits = []
    for name, shape, flops, rival in wanted:
        speed = max(rows.get(f"product_{shape}_{precision}", 0.0) for precision in PRECISIONS) * 1e9
        if rival and speed:
            limits.append(Limit(name, flops=flops, seconds=flops / speed, times=rival * speed / flops))
    return limits


def _step_flops(scale: Scale, name: ShapeName) -> float:
    shape = scale.shape(name)
    documents = step_documents(scale.steps, max_tokens=scale.max_tokens, vocabulary=shape.vocabulary)
    return lora_step_flops(documents.lengths(), shape=shape, rank=THESIS_RANK, labels=LABELS) / scale.steps
