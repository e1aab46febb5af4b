"""How a bundle in another form compares with the one that it was made from: measured when it is made, on this machine.

Both classify the same texts, in one thread. `certificate.json` has the result.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import numpy as np
from pydantic import Field

from tanzaku import __version__
from tanzaku.data.dataset import SAMPLE
from tanzaku.errors import BundleError
from tanzaku.facts import Facts, read_facts
from tanzaku.files import write_atomically
from tanzaku.ship.manifest import is_litter, is_not_checked
from tanzaku.threads import settle_threads

if TYPE_CHECKING:
    from tanzaku.data.dataset import Dataset

CERTIFICATE_FILE = "certificate.json"
# Classifying thousands would take minutes, and tell no more of a form that should give the same labels.
MOST_TEXTS = 1000
_TIMED_TEXTS, _WARM_UP = 50, 3
# Of float32 forms: sums in another order differ by less, and anything else by more. As a share of the largest logit,
# where that is over 1.
_ROUNDING = 1e-3

Form = Literal["bundle", "transformers", "sentence-transformers", "peft", "onnx", "openvino"]
Dtype = Literal["float32", "bfloat16", "int8", "int4"]


class Side(Facts):
    """One of the two that are compared."""

    size_bytes: Annotated[int, Field(description="Of its folder; of a bundle, also of the encoder that it needs.")]
    accuracy: Annotated[float | None, Field(description="On the texts; None where they have no labels.")]
    median_ms: Annotated[float, Field(description="Milliseconds a document, one at a time.")]
    percentile_95_ms: Annotated[float, Field(description="The same; 5 % of the documents take longer.")]
    documents_per_second: Annotated[float, Field(description="Given all at once.")]


class Processor(Facts):
    """On what was measured."""

    name: str
    features: Annotated[tuple[str, ...], Field(description="The instructions for vectors and matrices that it has.")]
    threads: int


class Certificate(Facts):
    """The content of `certificate.json`."""

    version: Literal[1] = 1
    tanzaku: str
    made: Annotated[str, Field(description="ISO 8601, UTC.")]
    form: Form
    dtype: Dtype
    texts: int
    texts_from: str
    texts_sha256: str
    token_ids_equal: Annotated[int | None, Field(description="Texts with equal token ids; None where words are read.")]
    largest_logit: Annotated[float, Field(description="Of the bundle, whatever its sign.")]
    largest_logit_difference: float
    flips: Annotated[int, Field(description="Texts that got another label.")]
    flips_interval: Annotated[tuple[float, float], Field(description="95 % Wilson interval of their share.")]
    before: Annotated[Side, Field(description="The bundle in float32, by PyTorch.")]
    after: Side
    bfloat16_documents_per_second: Annotated[
        float | None,
        Field(description="Of the bundle in bfloat16; None where the processor has no instructions for it."),
    ] = None
    processor: Processor
    versions: Annotated[dict[str, str], Field(description="Of the packages that computed it.")]
    files: Annotated[
        dict[str, str], Field(description="SHA-256 of each file of an export, but for this one and the model card.")
    ] = Field(default_factory=dict)


class Predictor(Protocol):
    """What is compared: `Classifier`, and what reads exports that it does not."""

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, labels) float32."""
        ...

    def token_ids(self, texts: Sequence[str]) -> list[np.ndarray] | None:
        """The tokens of each text; None where words are read."""
        ...


@dataclass(frozen=True)
class Texts:
    """The texts on which two forms are compared; `classes` (texts,) int64, or None where they have no labels."""

    texts: Sequence[str]
    classes: np.ndarray | None
    origin: str


@dataclass(frozen=True)
class Measured:
    """What one form made of the texts: `scores` (texts, labels) float32, the texts' tokens, and what it cost."""

    scores: np.ndarray
    token_ids: list[np.ndarray] | None
    side: Side


def texts_of(dataset: Dataset | None, *, label_names: Sequence[str], most: int = MOST_TEXTS) -> Texts:
    """The texts of a certificate: of a data set's validation split, at most so many, evenly spaced.

    Args:
        dataset: None takes the embedded sample corpus.
        label_names: The bundle's: where the data set has others, its labels are not used.
        most: More texts than this are not needed.
    """
    if dataset is None:
        from tanzaku.data.loading import load_dataset

        dataset = load_dataset(SAMPLE)
    documents = dataset.val
    rows = np.unique(np.linspace(0, len(documents) - 1, min(most, len(documents))).astype(int))
    classes = None
    if tuple(dataset.label_names) == tuple(label_names):
        classes = np.array([label_names.index(documents.labels[row]) for row in rows])
    return Texts([documents.texts[row] for row in rows], classes, f"the validation texts of {dataset.name}")


def certify(
    before: Measured,
    after: Measured,
    texts: Texts,
    *,
    form: Form,
    dtype: Dtype,
    bfloat16_documents_per_second: float | None = None,
) -> Certificate:
    """Compare what two forms made of the same texts.

    Args:
        before: The bundle, in float32.
        after: What was made from it.
        texts: Those that both classified.
        form: Of `after`.
        dtype: Of `after`.
        bfloat16_documents_per_second: The speed of the bundle in bfloat16.
    """
    from tanzaku.measure.metrics import accuracy_interval

    equal = None
    if before.token_ids is not None and after.token_ids is not None:
        equal = sum(map(np.array_equal, before.token_ids, after.token_ids))
    flips = int((before.scores.argmax(axis=1) != after.scores.argmax(axis=1)).sum())
    return Certificate(
        tanzaku=__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        form=form,
        dtype=dtype,
        texts=len(texts.texts),
        texts_from=texts.origin,
        texts_sha256=_sha256(texts.texts),
        token_ids_equal=equal,
        largest_logit=float(np.abs(before.scores).max()),
        largest_logit_difference=float(np.abs(before.scores - after.scores).max()),
        flips=flips,
        flips_interval=accuracy_interval(flips, len(texts.texts)),
        before=before.side,
        after=after.side,
        bfloat16_documents_per_second=bfloat16_documents_per_second,
        processor=_processor(),
        versions=_versions(),
    )


@dataclass(frozen=True)
class Fault:
    """Why a form is refused, and what can be done."""

    reason: str
    remedy: str


def check_certificate(certificate: Certificate, *, max_flips: float | None) -> None:
    """Refuse a form that is not what it should be.

    Args:
        certificate: Of the form.
        max_flips: The largest share of texts that may get another label; None allows any in fewer bits.

    Raises:
        BundleError: A text has other token ids, logits are not finite, those of a form in float32 differ by more than
            rounding, or more texts than `max_flips` allows got another label.
    """
    if (fault := find_fault(certificate, max_flips=max_flips)) is not None:
        raise BundleError(f"{fault.reason}; nothing was written; {fault.remedy}")


def find_fault(certificate: Certificate, *, max_flips: float | None) -> Fault | None:
    """What `check_certificate` refuses a form for; None where it is what it should be."""
    if certificate.token_ids_equal not in (None, certificate.texts):
        wrong = certificate.texts - certificate.token_ids_equal
        return Fault(
            f"{wrong} of {certificate.texts} texts have other token ids in the export than in the bundle",
            "please report this with the encoder's name",
        )
    if not math.isfinite(certificate.largest_logit_difference):
        return Fault(
            f"logits of the bundle or of the form in {certificate.dtype} are not finite numbers",
            "pack without --int8 and --int4"
            if certificate.form == "bundle"
            else "check the bundle with `tanzaku evaluate`, or choose another --dtype",
        )
    bound = _ROUNDING * max(1.0, certificate.largest_logit)
    if certificate.dtype == "float32" and certificate.largest_logit_difference > bound:
        return Fault(
            f"the export's logits differ from the bundle's by up to {certificate.largest_logit_difference:.2g}, which "
            "is more than rounding explains",
            "please report this with the method and the encoder's name",
        )
    share = certificate.flips / certificate.texts
    if max_flips is not None and share > max_flips:
        return Fault(
            f"{certificate.flips} of {certificate.texts} texts ({100 * share:.2f} %) got another label, and at most "
            f"{100 * max_flips:g} % may (--max-flips)",
            _remedy_of_flips(certificate),
        )
    return None


def _remedy_of_flips(certificate: Certificate) -> str:
    if certificate.form == "bundle":
        return "pack without --int8 and --int4, or allow more"
    return "allow more" if certificate.dtype == "float32" else "choose float32, or allow more"


def write_certificate(folder: Path, certificate: Certificate) -> None:
    """Write `certificate.json` into a folder."""
    write_atomically(folder / CERTIFICATE_FILE, certificate.model_dump_json(indent=1) + "\n")


def read_certificate(folder: Path) -> Certificate:
    """The certificate in a folder.

    Raises:
        BundleError: It is missing or damaged.
    """
    path, remedy = folder / CERTIFICATE_FILE, "make the export again"
    return read_facts(Certificate, path, what="a certificate", remedy=remedy, error=BundleError)


def describe_certificate(certificate: Certificate) -> list[str]:
    """The certificate for people, line by line."""
    before, after = certificate.before, certificate.after
    low, high = (100 * end for end in certificate.flips_interval)
    encoder = certificate.token_ids_equal is not None
    lines = [
        f"Compared with the bundle in float32 on {certificate.texts:,} texts ({certificate.texts_from}):",
        f"  labels that changed: {certificate.flips:,} (95 % interval {low:.2f} to {high:.2f} %)",
        f"  largest difference of a logit: {certificate.largest_logit_difference:.2g}",
    ]
    if encoder:
        lines.append(f"  texts with equal token ids: {certificate.token_ids_equal:,}")
    if before.accuracy is not None and after.accuracy is not None:
        lines.append(f"  accuracy: {100 * before.accuracy:.2f} % before, {100 * after.accuracy:.2f} % after")
    lines += [
        f"  size: {before.size_bytes / 1e6:.2f} MB before, {'with the encoder that it needs, ' if encoder else ''}"
        f"{after.size_bytes / 1e6:.2f} MB after{', without it' if certificate.form == 'peft' else ''}",
        f"  milliseconds per document, one at a time: median {before.median_ms:.1f} before, {after.median_ms:.1f} "
        f"after; 95th percentile {before.percentile_95_ms:.1f} before, {after.percentile_95_ms:.1f} after",
        f"  documents per second, all at once: {before.documents_per_second:,.1f} before, "
        f"{after.documents_per_second:,.1f} after",
    ]
    if certificate.bfloat16_documents_per_second is not None:
        lines.append(
            f"  of the bundle in bfloat16: {certificate.bfloat16_documents_per_second:,.1f} documents per second"
        )
    processor = certificate.processor
    return [*lines, f"  one thread of {processor.name} ({', '.join(processor.features) or 'features unknown'})"]


def measure_form(load: Callable[[], Predictor], texts: Texts, *, size_bytes: int) -> Measured:
    """Classify the texts in one thread: some one at a time, then all at once.

    Args:
        load: Gives the form, which may keep the number of threads for good.
        texts: At least one.
        size_bytes: Of the form.
    """
    with one_thread():
        predictor = load()
        for text in texts.texts[:_WARM_UP]:
            predictor.scores([text])
        milliseconds = [1000 * _seconds(predictor, [text])[0] for text in texts.texts[:_TIMED_TEXTS]]
        seconds, scores = _seconds(predictor, texts.texts)
        token_ids = predictor.token_ids(texts.texts)
    accuracy = None if texts.classes is None else float((scores.argmax(axis=1) == texts.classes).mean())
    side = Side(
        size_bytes=size_bytes,
        accuracy=accuracy,
        median_ms=float(np.median(milliseconds)),
        percentile_95_ms=float(np.percentile(milliseconds, 95)),
        documents_per_second=len(texts.texts) / seconds,
    )
    return Measured(scores, token_ids, side)


def _seconds(predictor: Predictor, texts: Sequence[str]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    scores = predictor.scores(texts)
    return time.perf_counter() - start, scores


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread while this lasts; what is loaded in it does so for good."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else None
    settle_threads(1)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch is not None and threads is not None:
            torch.set_num_threads(threads)


def _processor() -> Processor:
    from tanzaku.machine import cpu_name, cpu_vector_features

    return Processor(name=cpu_name(), features=cpu_vector_features(), threads=1)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("torch", "transformers", "onnxruntime", "openvino"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _sha256(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def bundle_bytes(folder: Path) -> int:
    """The bytes of a bundle or export, without files that nothing needs to classify.

    These are its certificate, its model card, and what git, the Hub and file managers add.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return sum(
        path.stat().st_size
        for name, path in files.items()
        if name != CERTIFICATE_FILE and not is_not_checked(name) and not is_litter(path)
    )
