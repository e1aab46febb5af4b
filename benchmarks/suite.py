"""All measurements, and the rounds in which they take turns."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import classifying, tokenizing
from benchmarks.documents import step_documents
from benchmarks.memory import peak_bytes
from benchmarks.ours import ALL_LINEAR_SETTINGS, DEFAULT_SETTINGS, THESIS_SETTINGS, step_seconds
from benchmarks.products import PRECISIONS, product_gflops
from benchmarks.progress import Progress
from benchmarks.scale import Scale, ShapeName
from benchmarks.streaming import why_not
from benchmarks.trainers import MethodName, trainer_seconds, tuned_trainer_seconds

SECONDS = "seconds a step of 8 documents"
DOCUMENTS = "documents a second"
CHARACTERS = "characters a second"
GFLOPS = "GFLOP/s"
BYTES = "bytes"

GROUPS = ("products", "steps-base", "steps-mini", "classify", "tokenize", "memory")


@dataclass(frozen=True)
class Measurement:
    """A named number that can be measured again and again.

    `once` marks what does not vary enough to be worth another round, such as memory. Where it is `profiled`, `measure`
    takes a `clock`, and the record says on which kinds of operation its time goes.
    """

    group: str
    name: str
    unit: str
    measure: Callable[..., float]
    once: bool = False
    profiled: bool = False


def measurements(scale: Scale, *, texts: Path | None, groups: Sequence[str] = GROUPS) -> list[Measurement]:
    """The measurements of these groups, those that are compared side by side."""
    everything = [
        *_products(scale),
        *_steps(scale, "base", "lora", ("trainer", "tuned_trainer", "tanzaku_thesis", "tanzaku")),
        *_steps(scale, "base", "full", ("trainer", "tanzaku")),
        *_steps(scale, "mini", "lora", ("trainer", "tuned_trainer", "tanzaku_thesis", "tanzaku")),
        *_steps(scale, "mini", "full", ("trainer", "tuned_trainer", "tanzaku_thesis", "tanzaku")),
        _all_linear(scale),
        *_classifying(scale),
        *_tokenizing(scale, texts),
        *_memory(scale),
    ]
    return [one for one in everything if one.group in groups]


def run_rounds(
    chosen: Sequence[Measurement], *, rounds: int, progress: Progress, report: Callable[[str], None]
) -> dict[str, list[float]]:
    """Make every measurement once a round, but for what `progress` has; {name: a number for each round}.

    Every other round goes backwards, so that neither side of a comparison always follows the other.
    """
    for turn in range(rounds):
        for one in chosen if turn % 2 == 0 else reversed(chosen):
            if len(progress.numbers.get(one.name, [])) > (0 if one.once else turn):
                continue
            gc.collect()  # a Trainer is full of cycles: its model would stay while the next side is measured
            value = one.measure()
            progress.add(one.name, value)
            report(f"round {turn + 1} of {rounds}  {one.name}  {value:.4g} {one.unit}")
    return {one.name: progress.numbers[one.name] for one in chosen}


def _products(scale: Scale) -> list[Measurement]:
    names: tuple[ShapeName, ...] = ("base", "mini")
    return [
        Measurement(
            "products",
            f"product_{name}_{precision}",
            GFLOPS,
            partial(product_gflops, scale.shape(name), precision, rows=scale.product_rows),
        )
        for name in names
        for precision in PRECISIONS
    ]


def _steps(scale: Scale, name: ShapeName, method: MethodName, sides: Sequence[str]) -> list[Measurement]:
    shape = scale.shape(name)
    documents = step_documents(scale.steps, max_tokens=scale.max_tokens, vocabulary=shape.vocabulary)
    common = partial(partial, max_tokens=scale.max_tokens)
    ways: dict[str, Callable[..., float]] = {
        "trainer": common(trainer_seconds, shape, method, documents),
        "tuned_trainer": common(tuned_trainer_seconds, shape, method, documents),
        "tanzaku_thesis": common(step_seconds, shape, method, documents, settings=THESIS_SETTINGS),
        "tanzaku": common(step_seconds, shape, method, documents, settings=DEFAULT_SETTINGS),
    }
    return [
        Measurement(f"steps-{name}", f"{method}_step_{name}_{side}", SECONDS, ways[side], profiled=method == "lora")
        for side in sides
    ]


def _all_linear(scale: Scale) -> Measurement:
    documents = step_documents(scale.steps, max_tokens=scale.max_tokens, vocabulary=scale.mini.vocabulary)
    measure = partial(
        step_seconds, scale.mini, "lora", documents, settings=ALL_LINEAR_SETTINGS, max_tokens=scale.max_tokens
    )
    return Measurement("steps-mini", "lora_all_linear_step_mini_tanzaku", SECONDS, measure)


def _classifying(scale: Scale) -> list[Measurement]:
    return [
        Measurement("classify", f"classify_base_{side}", DOCUMENTS, partial(rate, scale), profiled=True)
        for side, rate in (("pipeline", classifying.pipeline_rate), ("tanzaku", classifying.our_rate))
    ]


def _tokenizing(scale: Scale, folder: Path | None) -> list[Measurement]:
    def rate(way: Callable[..., float]) -> float:
        return way(tokenizing.real_texts(folder, count=scale.tokenized), max_tokens=scale.max_tokens)

    return [
        Measurement("tokenize", "tokenize_reference", CHARACTERS, partial(rate, tokenizing.reference_rate)),
        Measurement("tokenize", "tokenize_tanzaku", CHARACTERS, partial(rate, tokenizing.our_rate)),
    ]


def _memory(scale: Scale) -> list[Measurement]:
    sides = ["train_memory_trainer", "train_memory_tanzaku"]
    if why_not() is None:
        sides += ["classify_memory_ten_thousand", "classify_memory_million"]
    return [Measurement("memory", side, BYTES, partial(peak_bytes, scale, side), once=True) for side in sides]
