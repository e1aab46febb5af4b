"""From a bundle to another form of it, with a certificate of how the two compare."""

from __future__ import annotations

import random
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tanzaku.encoders.source import files_of
from tanzaku.errors import BundleError, TanzakuWarning
from tanzaku.exports.forms import GRAPH_FORMS, choose_form
from tanzaku.files import atomic_folder, sha256_of_file
from tanzaku.ship.building import check_apart, check_nothing_else, names_below
from tanzaku.ship.bundle import Bundle, EncoderBundleFacts, open_bundle
from tanzaku.ship.certificate import (
    CERTIFICATE_FILE,
    Certificate,
    Dtype,
    Form,
    Measured,
    Predictor,
    Texts,
    bundle_bytes,
    certify,
    check_certificate,
    find_fault,
    measure_form,
    read_certificate,
    texts_of,
    write_certificate,
)
from tanzaku.ship.hub import bundle_folder
from tanzaku.ship.manifest import CARD_FILE, MANIFEST_FILE, is_litter, write_manifest
from tanzaku.ship.validation import check_labels
from tanzaku.words import Language

if TYPE_CHECKING:
    from tanzaku.data.dataset import Dataset

DtypeChoice = Literal["auto", "float32", "bfloat16", "int8"]
_CALIBRATION_TEXTS, _CALIBRATION_SEED = 200, 0


@dataclass(frozen=True)
class Exported:
    """What was written: where, in which form and precision, how it compares, and what the user should know."""

    folder: Path
    form: Form
    dtype: Dtype
    certificate: Certificate
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Request:
    bundle: Bundle
    form: Form
    encoder: str | None
    texts: Texts
    calibration: Sequence[str]
    max_flips: float | None


def export(
    bundle: str | Path,
    out: str | Path,
    *,
    to: Form,
    dtype: DtypeChoice = "float32",
    dataset: Dataset | None = None,
    max_flips: float | None = None,
    encoder: str | None = None,
    force: bool = False,
    language: Language = "en",
) -> Exported:
    """Write a bundle in another form, and `certificate.json` with it.

    Args:
        bundle: What `pack` wrote, or `hf://owner/name[@revision]` for one on the Hub.
        out: The new folder, which is complete or does not exist.
        to: "transformers", "sentence-transformers", "peft", "onnx" or "openvino".
        dtype: Of the matrices; "bfloat16" is for openvino. "auto" is the fastest one for onnx and openvino that
            `max_flips` allows.
        dataset: On its validation texts the two are compared, and its training texts calibrate OpenVINO's 8 bits; None
            takes the embedded sample corpus for both.
        max_flips: The largest share of these texts that may get another label.
        encoder: Where the bundle's encoder lies, if not under its name.
        force: Replace an export that lies in `out`.
        language: Of the model card.

    Raises:
        BundleError: There is no such export of this bundle, it is not what it should be, this processor can't compare
            it, or something lies in `out`.
        DataError: The dataset has other labels.
        TanzakuError: An extra is not installed.
    """
    source = open_bundle(bundle_folder(bundle))
    chosen: Dtype = "float32" if dtype == "auto" else dtype
    form = choose_form(source.folder, source.facts, to, chosen)
    request = _request(source, form, dataset, encoder=encoder, max_flips=max_flips)
    if chosen == "bfloat16":
        _check_bfloat16(request)
    notes = [] if form == to else [f"transformers has no head like this bundle's, so it was exported for {form}."]
    with _building(Path(out), source=source.folder, force=force) as staging:
        if dtype == "auto" and form in GRAPH_FORMS and isinstance(source.facts, EncoderBundleFacts):
            certificate = _write_faster(request, staging, notes)
        else:
            certificate = _write(request, staging, chosen, _Baseline(request, with_bfloat16=chosen != "float32"))
            check_certificate(certificate, max_flips=max_flips)
        _write_card(request, staging, language)
    return Exported(Path(out), form, certificate.dtype, certificate, (*notes, *_remarks(certificate, source.folder)))


class _Baseline:
    """The bundle by PyTorch, measured when it is first asked for, and once."""

    def __init__(self, request: _Request, *, with_bfloat16: bool) -> None:
        self._request, self._with_bfloat16 = request, with_bfloat16

    @cached_property
    def before(self) -> Measured:
        """In float32."""
        size = _needed_bytes(self._request)
        return measure_form(lambda: _classifier(self._request, "float32"), self._request.texts, size_bytes=size)

    @cached_property
    def bfloat16_documents_per_second(self) -> float | None:
        """None where it is not wanted, or the processor has no instructions for it."""
        if not self._with_bfloat16 or not _computes_in_bfloat16(self._request):
            return None
        fast = measure_form(lambda: _classifier(self._request, "bfloat16"), self._request.texts, size_bytes=0)
        return fast.side.documents_per_second


def _request(
    bundle: Bundle, form: Form, dataset: Dataset | None, *, encoder: str | None, max_flips: float | None
) -> _Request:
    if dataset is not None:
        check_labels(dataset, bundle.facts.label_names)
    return _Request(
        bundle=bundle,
        form=form,
        encoder=encoder,
        texts=texts_of(dataset, label_names=bundle.facts.label_names),
        calibration=calibration_texts(dataset),
        max_flips=max_flips,
    )


def _write(request: _Request, folder: Path, dtype: Dtype, baseline: _Baseline) -> Certificate:
    """Export into a folder, and put the certificate there."""
    if request.form in GRAPH_FORMS:
        from tanzaku.exports.runtime import write_graph_bundle

        write_graph_bundle(
            request.bundle,
            folder,
            engine="openvino" if request.form == "openvino" else "onnxruntime",
            dtype=dtype,
            encoder=request.encoder,
            calibration=request.calibration,
        )
    else:
        from tanzaku.exports.folders import write_folder

        write_folder(request.bundle, folder, form=request.form, encoder=request.encoder)
    certificate = certify(
        baseline.before,
        measure_form(lambda: _reader(request, folder), request.texts, size_bytes=bundle_bytes(folder)),
        request.texts,
        form=request.form,
        dtype=dtype,
        bfloat16_documents_per_second=baseline.bfloat16_documents_per_second,
    )
    sums = {name: sha256_of_file(folder / name) for name in names_below(folder)}
    certificate = certificate.model_copy(update={"files": sums})
    write_certificate(folder, certificate)
    if request.form in GRAPH_FORMS:
        write_manifest(folder)
    return certificate


def _write_card(request: _Request, folder: Path, language: Language) -> None:
    from tanzaku.exports.folders import base_options
    from tanzaku.exports.snippets import snippet_of
    from tanzaku.ship.cards.write import write_card
    from tanzaku.ship.loading import base_of

    facts, form = request.bundle.facts, request.form
    lines: Sequence[str] = ()
    compact = False
    if form not in GRAPH_FORMS and isinstance(facts, EncoderBundleFacts):
        base: dict[str, Any] = {}
        if form == "peft":
            source = base_of(request.bundle.folder, facts, encoder=request.encoder)
            compact, base = files_of(source).weights_format == "q4", base_options(source.folder)
        lines = snippet_of(facts, form, compact=compact, base=base)
    write_card(folder, facts, form=form, snippet=lines, compact=compact, language=language)


def _write_faster(request: _Request, folder: Path, notes: list[str]) -> Certificate:
    """Export in every precision that the processor has, and keep the fastest of those that may be used."""
    dtypes: list[Dtype] = ["float32", "int8"]
    if request.form == "openvino" and _computes_in_bfloat16(request):
        dtypes.append("bfloat16")
    with tempfile.TemporaryDirectory(prefix="tanzaku-") as name:
        certificates: dict[Dtype, Certificate] = {}
        baseline = _Baseline(request, with_bfloat16=True)
        for dtype in dtypes:
            (Path(name) / dtype).mkdir()
            certificates[dtype] = _write(request, Path(name) / dtype, dtype, baseline)
        chosen = _choose(certificates, request.max_flips, notes)
        shutil.copytree(Path(name) / chosen, folder, dirs_exist_ok=True)
    return certificates[chosen]


def _choose(certificates: dict[Dtype, Certificate], max_flips: float | None, notes: list[str]) -> Dtype:
    """The fastest one that may be used; what decided is added to `notes`.

    Raises:
        BundleError: Not even that in float32 may be.
    """
    check_certificate(certificates["float32"], max_flips=max_flips)
    speeds = {dtype: one.after.documents_per_second for dtype, one in certificates.items()}
    for dtype in sorted(speeds, key=lambda one: -speeds[one]):
        if (fault := find_fault(certificates[dtype], max_flips=max_flips)) is not None:
            notes.append(f"{dtype} can't be used: {fault.reason}.")
            continue
        shown = ", ".join(f"{speed:,.1f} in {one}" for one, speed in speeds.items())
        notes.append(
            f"{dtype} was chosen, the fastest of those that may be used: documents per second on this processor are "
            f"{shown}."
        )
        break
    return dtype


def _remarks(certificate: Certificate, bundle: Path) -> list[str]:
    before, half = certificate.before.documents_per_second, certificate.bfloat16_documents_per_second
    after = certificate.after.documents_per_second
    remarks = []
    if certificate.dtype == "int8" and after < before:
        remarks.append(
            f"On this processor this export is slower in int8 ({after:,.1f} documents per second) than the bundle in "
            f"float32 ({before:,.1f})."
        )
    if half is not None and after < half:
        remarks.append(
            f"On this processor the bundle itself is faster in bfloat16 ({half:,.1f} documents per second) than this "
            f"export in {certificate.dtype} ({after:,.1f}): where PyTorch is installed, use it with "
            f"`tanzaku classify {shlex.quote(str(bundle))} --precision bfloat16`."
        )
    return remarks


def _classifier(request: _Request, precision: Literal["float32", "bfloat16"]) -> Predictor:
    from tanzaku.ship.classifier import Classifier

    return Classifier.load(request.bundle.folder, encoder=request.encoder, device="cpu", precision=precision)


def _reader(request: _Request, folder: Path) -> Predictor:
    if request.form in GRAPH_FORMS:
        from tanzaku.ship.classifier import Classifier
        from tanzaku.ship.scorers import NO_8_BITS

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", NO_8_BITS, TanzakuWarning)  # how slow they are is measured
            return Classifier.load(folder)
    from tanzaku.exports.reading import read_folder

    return read_folder(request.bundle, folder, form=request.form, encoder=request.encoder)


def _needed_bytes(request: _Request) -> int:
    """The bundle's bytes, and those of the encoder that it needs."""
    from tanzaku.ship.loading import base_of

    size, facts = bundle_bytes(request.bundle.folder), request.bundle.facts
    if not isinstance(facts, EncoderBundleFacts) or facts.whole:
        return size
    source = base_of(request.bundle.folder, facts, encoder=request.encoder)
    return size + sum((source.folder / name).stat().st_size for name in files_of(source).weights)


def _computes_in_bfloat16(request: _Request) -> bool:
    from tanzaku.compute import choose_precision

    is_encoder = isinstance(request.bundle.facts, EncoderBundleFacts)
    return is_encoder and choose_precision("auto", device="cpu") == "bfloat16"


def _check_bfloat16(request: _Request) -> None:
    """Refuse what would be compared in float32, as the graph computes where there are no instructions for bfloat16."""
    if not _computes_in_bfloat16(request):
        raise BundleError(
            "this processor has no instructions for bfloat16, so an export in it can't be compared with the bundle "
            "here; export on a machine that has them (avx512_bf16 or amx_bf16), or choose float32 or int8 (--dtype)"
        )


def calibration_texts(dataset: Dataset | None) -> Sequence[str]:
    """Up to 200 training texts, in an order of their own; None takes the embedded sample corpus."""
    if dataset is None:
        from tanzaku.data.dataset import SAMPLE
        from tanzaku.data.loading import load_dataset

        dataset = load_dataset(SAMPLE)
    texts = dataset.train.texts
    # A split may be ordered by class, and what calibrates stops after some tokens.
    return random.Random(_CALIBRATION_SEED).sample(texts, min(len(texts), _CALIBRATION_TEXTS))


@contextmanager
def _building(out: Path, *, source: Path, force: bool) -> Iterator[Path]:
    """A new folder to build in, which takes the place `out` where all went well.

    Raises:
        BundleError: Something lies in `out`, or it is in the bundle; `force` replaces an export, and no other files.
    """
    if out.name in ("", ".."):
        raise BundleError(f"an export is built in a folder next to {out}, which has no name; name a new folder")
    check_apart(out, source)
    if out.exists() and not (out.is_dir() and all(is_litter(path) for path in out.iterdir())):
        if not _is_export(out):
            raise BundleError(f"{out} contains something that is not an export; choose a new folder")
        if not force:
            raise BundleError(f"{out} already contains an export; choose a new folder, or replace it with --force")
        own = {*read_certificate(out).files, CERTIFICATE_FILE, MANIFEST_FILE, CARD_FILE}
        check_nothing_else(out, own, what="the export")
    with atomic_folder(out, replace=True) as staging:
        yield staging


def _is_export(folder: Path) -> bool:
    """Whether a folder has the certificate of an export; a bundle in 8 or 4 bits has one too, which says so."""
    try:
        return read_certificate(folder).form != "bundle"
    except BundleError:
        return False
