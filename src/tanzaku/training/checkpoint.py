"""Checkpoints that are whole or absent, so that work killed at any moment resumes exactly where it was.

A checkpoint is a folder `step-<number>` with `tensors.safetensors`, `state.json` and, written last, `manifest.json`
with the SHA-256 of the other two. It is written under a temporary name, synced to disk and renamed. No pickle is
written or read: tensors are safetensors, everything else is JSON.
"""

import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tanzaku.files import atomic_folder, errors_naming, sha256_of_file, write_json_atomically

_TENSORS = "tensors.safetensors"
_STATE = "state.json"
_MANIFEST = "manifest.json"
_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: named tensors (on the CPU, in the dtypes they were saved in) and a JSON-able state."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one piece of work, in one folder; the newest `keep` are kept.

    Args:
        folder: Where they are kept; made when the first is saved.
        identity: Names the work (a run's id). A checkpoint of other work in the same folder is refused.
        keep: How many to keep. Two, so that one damaged by a failing disk costs little.
    """

    def __init__(self, folder: Path, *, identity: str, keep: int = 2) -> None:
        self.folder = folder
        self.identity = identity
        self.keep = keep

    def save(self, step: int, *, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write the checkpoint of `step`; replaces one of the same step.

        Raises:
            OSError: The disk is full, or the folder can't be written; the error names it.
        """
        # Left by a process that was killed while it saved; its number may be another one's.
        for unfinished in self.folder.glob(".step-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        with (
            errors_naming(self.folder),
            atomic_folder(self._folder(step), replace=True) as staging,
        ):
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, staging / _TENSORS
            )
            (staging / _STATE).write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
            sums = {name: sha256_of_file(staging / name) for name in (_TENSORS, _STATE)}
            manifest = {"version": _VERSION, "identity": self.identity, "step": step, "sha256": sums}
            write_json_atomically(staging / _MANIFEST, manifest)
        found = self._folders()
        # Those of later steps were damaged: the work is at this one.
        later = [folder for folder in found if folder.name > self._folder(step).name]
        for old in (*later, *found[len(later) + self.keep :]):
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest valid checkpoint, or None, and a message for each damaged one that was passed over."""
        complaints: list[str] = []
        for folder in self._folders():
            try:
                return self._read(folder), complaints
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                complaints.append(f"checkpoint {folder} is damaged and passed over: {error}")
        return None, complaints

    def clear(self) -> None:
        """Remove them all; the work is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.glob("step-*") if path.is_dir()), reverse=True)

    def _read(self, folder: Path) -> Checkpoint:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != _VERSION:
            raise ValueError(f"version {manifest['version']} is not {_VERSION}")
        if manifest["identity"] != self.identity:
            raise ValueError(f"it belongs to {manifest['identity']}, not to {self.identity}")
        for name, expected in manifest["sha256"].items():
            if sha256_of_file(folder / name) != expected:
                raise ValueError(f"{name} does not have the SHA-256 of the manifest")
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return Checkpoint(step=manifest["step"], tensors=load_file(folder / _TENSORS), state=state)


_TORCH_STATE = "random.torch"
_CUDA_STATE = "random.cuda"


def random_tensors() -> dict[str, Tensor]:
    """PyTorch's random states as uint8 tensors: the CPU's, and the current GPU's where there is one."""
    tensors = {_TORCH_STATE: torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors[_CUDA_STATE] = torch.cuda.get_rng_state()
    return tensors


def random_state() -> dict[str, Any]:
    """Python's and NumPy's global random states, as JSON."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
    }


def restore_random(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Put back what `random_tensors` and `random_state` saved.

    A process that did not take part in the training before has no state of PyTorch's there, and keeps its own.
    """
    if _TORCH_STATE in tensors:
        torch.set_rng_state(tensors[_TORCH_STATE])
    if _CUDA_STATE in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_CUDA_STATE])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
