"""Writes bundles as folders that transformers, sentence-transformers and PEFT open without Tanzaku."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tanzaku.encoders.pooled import own_pooling
from tanzaku.encoders.source import absolute_name
from tanzaku.encoders.tokenizer import save_tokenizer
from tanzaku.errors import BundleError
from tanzaku.files import write_json_atomically
from tanzaku.ship.bundle import MODEL_FOLDER, Bundle, EncoderBundleFacts
from tanzaku.ship.certificate import Form
from tanzaku.ship.loading import load_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tanzaku.encoders.pooled import PooledClassifier

# The names of the parts, which sentence-transformers writes too.
POOLING_FOLDER, DENSE_FOLDER = "1_Pooling", "2_Dense"
DENSE_WEIGHTS = "model.safetensors"
# Of an adapter for a bare encoder: the classification layer, which PEFT has no place for there.
HEAD_FILE = "head.safetensors"

_MODULES = "sentence_transformers.models"
_PEFT_PREFIX = "base_model.model."
_OF_THE_ADAPTER = re.compile(r"\.(?:lora_|ia3_|ln_tuning_)")  # begins what follows a layer's name


def write_folder(bundle: Bundle, folder: Path, *, form: Form, encoder: str | None) -> None:
    """Write an export that another library opens into an empty folder.

    Args:
        bundle: Of a method that adapts an encoder.
        folder: Empty.
        form: "transformers", "sentence-transformers" or "peft".
        encoder: Where the bundle's encoder lies, if not under its name.

    Raises:
        BundleError: The encoder is missing, or another one.
    """
    facts = bundle.facts
    if not isinstance(facts, EncoderBundleFacts):
        raise BundleError(f"{facts.method['name']} adapts no encoder, so there is no export to {form}")
    model, tokenizer = load_model(bundle.folder, facts, encoder=encoder)
    tokenizer.model_max_length = facts.encoder.max_tokens
    if form == "transformers":
        _write_model(cast("PreTrainedModel", model), folder)
    elif form == "sentence-transformers":
        _write_sentence_transformers(cast("PooledClassifier", model), folder, facts)
    else:
        _write_peft(bundle, facts, cast("PreTrainedModel", model), folder)
    save_tokenizer(tokenizer, folder)


def _write_model(model: PreTrainedModel, folder: Path) -> None:
    from tanzaku.encoders.quiet import quiet_transformers

    with quiet_transformers():
        model.save_pretrained(folder)


def _write_sentence_transformers(model: PooledClassifier, folder: Path, facts: EncoderBundleFacts) -> None:
    """Three modules: the encoder, the pooling, and the classification layer, whose outputs are the logits."""
    from safetensors.torch import save_file

    _write_model(model.base_model, folder)
    _say_labels(folder, facts)
    hidden = model.config.hidden_size
    modes = ["mean_tokens"] if model.pooling == "mean" else ["max_tokens", "mean_tokens"]
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    pooling = {f"pooling_mode_{name}": name in modes for name in names}
    (folder / POOLING_FOLDER).mkdir()
    write_json_atomically(
        folder / POOLING_FOLDER / "config.json",
        {"word_embedding_dimension": hidden, **pooling, "include_prompt": True},
    )
    (folder / DENSE_FOLDER).mkdir()
    weight, bias = model.classifier.weight.detach(), model.classifier.bias.detach()
    dense = {
        "in_features": hidden * len(modes),
        "out_features": len(facts.label_names),
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write_json_atomically(folder / DENSE_FOLDER / "config.json", dense)
    weights = {"linear.weight": _in_their_order(weight, model.pooling), "linear.bias": bias}
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / DENSE_FOLDER / DENSE_WEIGHTS)
    modules = [("Transformer", ""), ("Pooling", POOLING_FOLDER), ("Dense", DENSE_FOLDER)]
    write_json_atomically(
        folder / "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{name}"}
            for number, (name, path) in enumerate(modules)
        ],
    )
    settings: dict[str, Any] = {"max_seq_length": facts.encoder.max_tokens, "do_lower_case": False}
    if "add_pooling_layer" in inspect.signature(type(model.base_model).__init__).parameters:
        # Otherwise transformers adds a pooler of random weights that nothing reads, and reports it as missing.
        settings["model_args"] = {"add_pooling_layer": False}
    write_json_atomically(folder / "sentence_bert_config.json", settings)


def _in_their_order(weight: torch.Tensor, pooling: str) -> torch.Tensor:
    """The columns for [maximum, mean], which is how sentence-transformers puts them; ours are [mean, maximum]."""
    import torch

    if pooling == "mean":
        return weight
    mean, largest = weight.chunk(2, dim=1)
    return torch.cat([largest, mean], dim=1)


def _say_labels(folder: Path, facts: EncoderBundleFacts) -> None:
    """Name the labels in the encoder's configuration: sentence-transformers has no other place for them."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("tanzaku", None)  # how our own classifier pools
    labels = dict(enumerate(facts.label_names))
    write_json_atomically(path, config | {"id2label": labels, "label2id": {name: i for i, name in labels.items()}})


def _write_peft(bundle: Bundle, facts: EncoderBundleFacts, model: PreTrainedModel, folder: Path) -> None:
    """The adapter as it was saved. Where the head is none of transformers' own, it is made one for the bare encoder."""
    saved = bundle.folder / MODEL_FOLDER
    config = _read_config(saved)
    if facts.encoder.pooling == "cls":
        shutil.copyfile(saved / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    else:
        adapted = _write_bare_adapter(saved, folder, model.base_model_prefix)
        config = _bare_config(config, model.base_model_prefix, adapted)
    named = absolute_name(facts.encoder.name)
    local = Path(named).is_absolute()
    config["base_model_name_or_path"] = None if local else named  # no path of this machine
    config["revision"] = None if local else facts.encoder.revision
    write_json_atomically(folder / "adapter_config.json", config)


def base_options(encoder: Path) -> dict[str, Any]:
    """With what transformers loads the classifier below a PEFT adapter from an encoder's folder, besides its labels.

    The checkpoint's own head, which may have other labels, is not kept: the adapter has the trained one. It reads
    [CLS], whatever a ModernBERT's configuration says.
    """
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    return {"ignore_mismatched_sizes": True, **own_pooling(config)}


def _read_config(saved: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))
    return config


def _bare_config(config: dict[str, Any], prefix: str, adapted: Sequence[str]) -> dict[str, Any]:
    """The configuration of an adapter of some layers of the bare encoder.

    They have their full names. PEFT itself stores endings that are unique in the model that it adapted, such as
    "dense", and a bare encoder may have a pooler with such a layer too.
    """

    def without(name: str) -> str:
        return name.removeprefix(f"{prefix}.")

    without_head = {"task_type": "FEATURE_EXTRACTION", "modules_to_save": None, "exclude_modules": None}
    changed = dict(config) | {key: value for key, value in without_head.items() if key in config}
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(changed.get(key), list):
            endings = tuple(f".{without(name)}" for name in changed[key])
            changed[key] = [name for name in adapted if f".{name}".endswith(endings)]
    for key in ("rank_pattern", "alpha_pattern"):
        if isinstance(changed.get(key), dict):
            changed[key] = {without(name): value for name, value in changed[key].items()}
    return changed


def _write_bare_adapter(saved: Path, folder: Path, prefix: str) -> list[str]:
    """Write the adapter and the head; gives the names of the layers that are adapted."""
    from safetensors.torch import load_file, save_file

    adapter, head = {}, {}
    ours = f"{_PEFT_PREFIX}{prefix}."
    for name, tensor in load_file(saved / "adapter_model.safetensors").items():
        if name.startswith(ours):
            adapter[_PEFT_PREFIX + name.removeprefix(ours)] = tensor
        else:
            head[name.rpartition(".")[2]] = tensor
    save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    save_file(head, folder / HEAD_FILE)
    layers = (_OF_THE_ADAPTER.split(name.removeprefix(_PEFT_PREFIX))[0] for name in adapter)
    return sorted(dict.fromkeys(layers))
