"""Adapters as PEFT saves them: the two factors of each layer's update, read, changed and written again.

An update is ΔW = B·A with the scale in B; A is (rank, inputs) and B (outputs, rank). Of an embedding, ΔW is that of the
transposed table, as PEFT has it.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tanzaku.errors import MethodError
from tanzaku.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"

# From a layer's name and its factors (A, B) to others of the same shapes but for the rank.
Change = Callable[[str, "Tensor", "Tensor"], "tuple[Tensor, Tensor]"]

_FACTOR = re.compile(r"base_model\.model\.(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")


@dataclass(frozen=True)
class Adapter:
    """A saved adapter: PEFT's configuration, all tensors under their saved names, and where each layer's factors are.

    `factors` has (A's name, B's name, scale) by the layer's full name.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    factors: dict[str, tuple[str, str, float]]

    def update_of(self, layer: str) -> tuple[Tensor, Tensor]:
        """A and B of one layer, the scale in B."""
        a, b, scale = self.factors[layer]
        return self.tensors[a], self.tensors[b] * scale


def read_adapter(folder: Path) -> Adapter:
    """Read a LoRA that PEFT or `write_adapter` saved.

    Raises:
        MethodError: There is none, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise MethodError(
            f"{folder} can't be read as a saved LoRA ({error}); give the folder that one was saved in"
        ) from error
    names: dict[str, dict[str, str]] = {}
    for name in tensors:
        if found := _FACTOR.fullmatch(name):
            names.setdefault(found[1], {})[found[2]] = name
    if config.get("peft_type") != "LORA" or not names or any(len(pair) < 2 for pair in names.values()):
        raise MethodError(f"{folder} holds no LoRA's two factors a layer; give the folder that one was saved in")
    factors = {
        layer: (pair["A"], pair["B"], _scale(config, layer, rank=len(tensors[pair["A"]])))
        for layer, pair in names.items()
    }
    return Adapter(config, tensors, factors)


def rewrite_adapter(source: Path, folder: Path, change: Change) -> dict[str, int]:
    """Write the adapter in `source` to `folder` (the same one, too) with changed factors, and scale 1 at every layer.

    What else lies in `source` is copied. Plain PEFT opens the result.

    Returns:
        The new rank of every layer, by its full name.

    Raises:
        MethodError: As `read_adapter`.
    """
    from safetensors.torch import save_file

    adapter = read_adapter(source)
    tensors, ranks = dict(adapter.tensors), {}
    for layer, (a_name, b_name, _) in adapter.factors.items():
        a, b = change(layer, *adapter.update_of(layer))
        tensors[a_name], tensors[b_name] = a.contiguous(), b.contiguous()
        ranks[layer] = len(a)
    folder.mkdir(parents=True, exist_ok=True)
    if folder != source:
        for path in source.iterdir():
            if path.is_file() and path.name not in (WEIGHTS_FILE, CONFIG_FILE):
                shutil.copyfile(path, folder / path.name)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    write_config(folder, adapter.config | _config_of(ranks))
    return ranks


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write PEFT's configuration. PEFT's own order of sets changes from process to process; equal runs write equal
    bytes."""
    ordered = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    write_atomically(folder / CONFIG_FILE, json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")


def _config_of(ranks: Mapping[str, int]) -> dict[str, Any]:
    """The entries that say these ranks, and a scale of 1 at each."""
    largest = max(ranks.values())
    pattern = {layer: rank for layer, rank in ranks.items() if rank != largest}
    return {
        "r": largest,
        "lora_alpha": largest,
        "rank_pattern": pattern,
        "alpha_pattern": pattern,
        "use_rslora": False,
        "init_lora_weights": True,
    }


def _scale(config: Mapping[str, Any], layer: str, *, rank: int) -> float:
    from peft.utils.other import get_pattern_key

    pattern = config.get("alpha_pattern") or {}
    alpha = pattern.get(get_pattern_key(pattern, layer), config["lora_alpha"])
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
