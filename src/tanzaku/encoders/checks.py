"""What `tanzaku doctor` looks at on a machine: Python, packages, dictionaries, hardware, disk and hub."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tanzaku.display import counted

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Status = Literal["ok", "none", "warn", "fail"]
"""`none`: not installed, and only needed by some."""

# What each dictionary makes of one sentence: by heart, because a damaged or foreign one cuts otherwise, in silence.
GOLDEN_SEGMENTATION = {
    "ipadic": "山 について 友だち と 話す 。",
    "unidic_lite": "山 に つい て 友だち と 話す 。",
}
_PIP_NAMES = {"ipadic": "ipadic", "unidic_lite": "unidic-lite"}
_SEGMENTERS = {
    "unidic": "unidic && python -m unidic download",
    "sudachipy": "sudachipy sudachidict_core",
    "rhoknp": "rhoknp",
}
# Full fine-tuning of a BERT-base in float32 holds four copies of 442 MB, and some 1.5 GB of activations in addition.
_ENOUGH_MEMORY_BYTES = 4_000_000_000
# A BERT-base's weights, its tokens, and checkpoints of one run.
_ENOUGH_DISK_BYTES = 5_000_000_000


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `remedy` says what to do about a warning or a failure."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def check_machine() -> Iterator[Check]:
    """Every check that needs no encoder, one after another; a package that is missing stops none of the others."""
    steps = {
        "packages": _check_packages,
        "dictionaries": _check_dictionaries,
        "segmenters": _check_segmenters,
        "machine": _check_hardware,
        "disk": _check_disk,
        "hub": _check_hub,
    }
    for name, step in steps.items():
        try:
            yield from step()
        except ImportError as error:
            yield Check(
                name, "fail", f"can't be checked: {error}", "pip install '.[train]' ./mini (in the cloned folder)"
            )


def _check_packages() -> Iterator[Check]:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        about = importlib.metadata.distribution("tanzaku")
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "packages",
            "warn",
            "Tanzaku is not installed as a package",
            "pip install '.[train]' ./mini (in its cloned folder)",
        )
        return
    python, needed = platform.python_version(), about.metadata["Requires-Python"]
    fits = SpecifierSet(needed).contains(python, prereleases=True)
    remedy = None if fits else f"install a Python {needed} and create the environment again"
    yield Check("Python", "ok" if fits else "fail", f"{python} (needed: {needed})", remedy)
    requirements = [Requirement(text) for text in about.requires or ()]
    core = [requirement for requirement in requirements if requirement.marker is None]
    wrong = [check for requirement in core if (check := _check_requirement(requirement)) is not None]
    yield from wrong
    if not wrong:
        yield Check("packages", "ok", f"{counted(len(core), 'package')} as needed: {_versions(core)}")
    for extra in about.metadata.get_all("Provides-Extra") or ():
        members = [one for one in requirements if one.marker is not None and one.marker.evaluate({"extra": extra})]
        absent = [one.name for one in members if _check_requirement(one) is not None]
        # Neither Tanzaku nor its encoder is on PyPI, but pip finds the extras of what is installed.
        needs_folder = "tanzaku-mini" in absent
        install = f"'.[{extra}]' ./mini (in the cloned folder)" if needs_folder else f"'tanzaku[{extra}]'"
        detail = (
            f"without {', '.join(absent)}; to add them: pip install {install}"
            if absent
            else f"{counted(len(members), 'package')}: {_versions(members)}"
        )
        yield Check(f"extra {extra}", "none" if absent else "ok", detail)


def _versions(requirements: "Sequence[Requirement]") -> str:
    return ", ".join(f"{one.name} {importlib.metadata.version(one.name)}" for one in requirements)


def _check_requirement(requirement: "Requirement") -> Check | None:
    """None where it is met."""
    remedy = f"pip install '{requirement.name}{requirement.specifier}'"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Check(f"package {requirement.name}", "fail", "not installed", remedy)
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return Check(f"package {requirement.name}", "fail", f"{version} (needed: {requirement.specifier})", remedy)


def _check_dictionaries() -> Iterator[Check]:
    return map(_check_dictionary, GOLDEN_SEGMENTATION)


def _check_dictionary(dictionary: str) -> Check:
    name = f"dictionary {dictionary}"
    install = f"pip install --force-reinstall fugashi {_PIP_NAMES[dictionary]}"
    expected = GOLDEN_SEGMENTATION[dictionary]
    try:
        from transformers.models.bert_japanese.tokenization_bert_japanese import MecabTokenizer

        found = " ".join(MecabTokenizer(mecab_dic=dictionary).tokenize(expected.replace(" ", "")))
    except (ImportError, OSError, RuntimeError) as error:  # fugashi raises RuntimeError on a damaged dictionary
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "transformers":
            install = "pip install '.[train]' ./mini (in the cloned folder)"
        return Check(name, "fail", f"can't be used: {str(error).strip().splitlines()[0]}", install)
    if found != expected:
        return Check(name, "fail", f"segments the sentence as {found!r} instead of {expected!r}", install)
    return Check(name, "ok", found)


def _check_segmenters() -> Iterator[Check]:
    absent = {name: pip for name, pip in _SEGMENTERS.items() if importlib.util.find_spec(name) is None}
    for name in _SEGMENTERS:
        if name in absent:
            detail = f"not installed; only an encoder that asks for it needs it: pip install {absent[name]}"
            yield Check(f"segmenter {name}", "none", detail)
        else:
            yield Check(f"segmenter {name}", "ok", "installed")


def _check_hardware() -> Iterator[Check]:
    from tanzaku.machine import describe_machine

    machine = describe_machine()
    cores = f"{machine.physical_cores} cores, {machine.logical_cores} threads"
    yield Check("processor", "ok", f"{machine.cpu}: {cores}; PyTorch computes with {machine.torch_threads}")
    yield Check("bfloat16", "ok", _bfloat16_detail(machine.cpu_bfloat16))
    enough = machine.memory_bytes >= _ENOUGH_MEMORY_BYTES
    yield Check(
        "memory",
        "ok" if enough else "warn",
        f"{machine.memory_bytes / 1e9:.1f} GB",
        None
        if enough
        else "full fine-tuning of a BERT-base takes some 4 GB; use a smaller encoder, LoRA, or a smaller batch",
    )
    if machine.gpu is None:
        yield Check("GPU", "ok", "none that PyTorch can use; everything runs on the processor")
        return
    memory = f", {machine.gpu_memory_bytes / 1e9:.1f} GB" if machine.gpu_memory_bytes else ""
    yield Check("GPU", "ok", f"{machine.gpu}{memory}, bfloat16: {'yes' if machine.gpu_bfloat16 else 'no'}")


def _bfloat16_detail(native: bool) -> str:
    if native:
        return "in the processor; the fast path computes with it"
    return "not in the processor; the fast path computes with float32"


def _check_disk() -> Iterator[Check]:
    from huggingface_hub import constants

    from tanzaku.data.download import cache_folder

    places = {
        "Tanzaku's cache": (cache_folder(), "TANZAKU_CACHE"),
        "hub's cache": (Path(constants.HF_HUB_CACHE), "HF_HOME"),
    }
    for name, (folder, variable) in places.items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        detail = f"{folder}: {free / 1e9:.1f} GB free"
        elsewhere = f"set {variable} to a folder with room that you may write to"
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            yield Check(name, "warn", f"{folder}: can't be written", elsewhere)
        elif free < _ENOUGH_DISK_BYTES:
            yield Check(name, "warn", detail, f"free some space, or {elsewhere}")
        else:
            yield Check(name, "ok", detail)


def _check_hub() -> Iterator[Check]:
    """Says how the Hub would be asked; asks nothing, so that it works without a network."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    cached = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    way = "offline (HF_HUB_OFFLINE is set)" if constants.is_offline_mode() else f"{constants.ENDPOINT} (not contacted)"
    yield Check("hub", "ok", f"{way}; {cached} model{'' if cached == 1 else 's'} in its cache")
