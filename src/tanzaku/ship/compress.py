"""A bundle's adapter at a smaller rank: each layer's update cut to its largest singular values, as a new bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku import __version__
from tanzaku.errors import BundleError
from tanzaku.methods.ranked import RankedMethod
from tanzaku.ship.building import building, check_apart, write_facts
from tanzaku.ship.bundle import (
    ENCODER_FOLDER,
    MODEL_FOLDER,
    Bundle,
    CompressionFacts,
    EncoderBundleFacts,
    GraphBundleFacts,
    open_bundle,
)
from tanzaku.ship.held_out import copy_held_out
from tanzaku.ship.hub import bundle_folder
from tanzaku.ship.validation import check_labels, validate, warn_of_other_data
from tanzaku.words import Language

if TYPE_CHECKING:
    from torch import Tensor

    from tanzaku.data.dataset import Dataset


def compress(
    bundle: str | Path,
    out: str | Path,
    *,
    rank: int | None = None,
    energy: float | None = None,
    dataset: Dataset | None = None,
    encoder: str | None = None,
    force: bool = False,
    language: Language = "en",
) -> Bundle:
    """Cut a bundle's low-rank adapter, and write what is left as a new bundle.

    Each layer's update s·B·A becomes the nearest one of the lower rank (Eckart and Young 1936); `facts.compressed` of
    the new bundle says what that kept.

    Args:
        bundle: What `pack` or this function wrote, or `hf://owner/name[@revision]` for one on the Hub.
        out: The new bundle's folder, new or empty.
        rank: The rank of every layer; those of a smaller one stay as they are. Either this or `energy`.
        energy: The share, over 0 up to 1, of a layer's squared Frobenius norm that is kept, by the smallest rank that
            does.
        dataset: Its validation set is classified before and after, and the new bundle is calibrated on it. Without it,
            the new bundle has the calibration of `bundle`, and no validation documents to choose a threshold on, unless
            nothing was cut.
        encoder: For that, where the bundle's encoder lies, if not under its name.
        force: Replace a bundle that lies in `out`.
        language: Of the model card.

    Raises:
        BundleError: The bundle holds no low-rank adapter, rank or energy are out of range, or something lies in `out`.
        DataError: The dataset has other labels.
    """
    source = open_bundle(bundle_folder(bundle))
    check_apart(Path(out), source.folder, may_replace=True)
    packed = _check_request(source, rank=rank, energy=energy)
    _check_encoder(encoder, dataset)
    if dataset is not None:
        check_labels(dataset, source.facts.label_names)
        warn_of_other_data(dataset, source.facts.run.data)
    with building(Path(out), force=force, language=language) as staging:
        shutil.copytree(source.folder / ENCODER_FOLDER, staging / ENCODER_FOLDER)
        cut = _cut(source.folder / MODEL_FOLDER, staging / MODEL_FOLDER, rank=rank, energy=energy)
        if cut.kept_energy == 1:  # the classifier is the same, and so is how it classified them
            copy_held_out(source.folder, staging)
        compressed = _after(packed.compressed, cut)
        write_facts(staging, facts := packed.model_copy(update={"tanzaku": __version__, "compressed": compressed}))
        if dataset is not None:
            _measure(source, staging, facts, compressed, dataset, encoder=encoder)
    return open_bundle(out)


def _measure(
    source: Bundle,
    staging: Path,
    facts: EncoderBundleFacts,
    compressed: CompressionFacts,
    dataset: Dataset,
    *,
    encoder: str | None,
) -> None:
    """Classify the validation set before and after, and calibrate the new bundle on it."""
    before, after = (validate(folder, dataset, encoder=encoder) for folder in (source.folder, staging))
    measured = {"val_data": dataset.name, "val_before": before.scores, "val": after.scores}
    after.write_held_out(staging)
    changes = {"compressed": compressed.model_copy(update=measured), "calibration": after.calibration}
    write_facts(staging, facts.model_copy(update=changes))


def _check_encoder(encoder: str | None, dataset: Dataset | None) -> None:
    if encoder is not None and dataset is None:
        raise BundleError(
            f"encoder = {encoder} is for classifying validation documents; name their data as well (--data), or leave "
            "it out"
        )


def _check_request(source: Bundle, *, rank: int | None, energy: float | None) -> EncoderBundleFacts:
    """What the bundle says of itself, once it is clear that its adapter can be cut."""
    if (rank is None) == (energy is None):
        raise BundleError("give either rank (--rank) or energy (--energy)")
    if rank is not None and rank < 1:
        raise BundleError(f"rank = {rank}; give 1 or more")
    if energy is not None and not 0 < energy <= 1:
        raise BundleError(f"energy = {energy}; give a share over 0 and up to 1, such as 0.95")
    facts = source.facts
    if isinstance(facts, GraphBundleFacts):
        raise BundleError(f"{source.folder} was exported; compress the bundle that it was made from, and export that")
    if not isinstance(facts, EncoderBundleFacts) or not isinstance(facts.build_method(), RankedMethod):
        raise BundleError(
            f"the bundle {source.folder} is of the method {facts.method['name']!r}, which has no ranks to cut; "
            "give one of a LoRA"
        )
    if facts.merged:
        raise BundleError(f"the adapter of the bundle {source.folder} is merged into its encoder; {_remedy(facts)}")
    return facts


def _remedy(facts: EncoderBundleFacts) -> str:
    """What there is to do, by why `pack` merged the adapter."""
    if facts.encoder.pretrain is not None:  # its encoder is packed in any case
        return "pack the run with --with-encoder --no-merge, and compress that"
    flags = f"--int{facts.bits} and --with-encoder" if facts.bits else "--with-encoder"
    return f"pack the run without {flags}, and compress that"


def _cut(source: Path, folder: Path, *, rank: int | None, energy: float | None) -> CompressionFacts:
    from tanzaku.methods.adapter import read_adapter, rewrite_adapter
    from tanzaku.methods.truncation import rank_for_energy, singular_values, truncate

    adapter = read_adapter(source)
    before = {layer: len(adapter.update_of(layer)[0]) for layer in adapter.factors}
    largest = max(before.values())
    if rank is not None and rank >= largest:
        raise BundleError(f"rank = {rank}, but no layer has more than {largest} as it is; give a smaller one")
    values = {layer: singular_values(*adapter.update_of(layer)) for layer in adapter.factors}
    wanted = {
        layer: rank or rank_for_energy(found, energy=energy or 1.0)  # one of the two is given, and neither is 0
        for layer, found in values.items()
    }

    def change(layer: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        # Without a cut the factors stay as they are, to the bit.
        return (a, b) if wanted[layer] >= len(a) else truncate(a, b, rank=wanted[layer])

    after = rewrite_adapter(source, folder, change)
    return CompressionFacts(
        rank=rank,
        energy=energy,
        ranks=(min(after.values()), max(after.values())),
        ranks_before=(min(before.values()), max(before.values())),
        kept_energy=_kept(values, after),
    )


def _after(earlier: CompressionFacts | None, compressed: CompressionFacts) -> CompressionFacts:
    """What all cuts, one after the other, did to the adapter that was trained."""
    if earlier is None:
        return compressed
    return compressed.model_copy(
        update={
            "ranks_before": earlier.ranks_before,
            "kept_energy": earlier.kept_energy * compressed.kept_energy,
            "steps": earlier.steps + 1,
        }
    )


def _kept(values: Mapping[str, Tensor], ranks: Mapping[str, int]) -> float:
    """The share of all squared singular values that is among the first so many of each layer; 1 where all are 0."""
    whole = sum(float(found.square().sum()) for found in values.values())
    left = sum(float(found[: ranks[layer]].square().sum()) for layer, found in values.items())
    return left / whole if whole else 1.0
