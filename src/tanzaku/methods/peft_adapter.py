"""What the methods that wrap PEFT share: wrapping, saving, opening and merging an adapter."""

import contextlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tanzaku.errors import MethodError
from tanzaku.methods.adapter import CONFIG_FILE, write_config
from tanzaku.methods.lora import quiet_peft

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import nn


def head_settings(head: Sequence[str]) -> dict[str, Any]:
    """What every configuration of PEFT's says of the head: train and save it, and adapt nothing inside it."""
    return {
        "task_type": "SEQ_CLS",
        "modules_to_save": [name.rpartition(".")[2] for name in head],
        "exclude_modules": rf"(.*\.)?({'|'.join(map(re.escape, head))})(\..*)?",
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what is no fault.

    PEFT warns of layers without a width that it knows, LayerNorm among them, though our methods check the layers first,
    and of the ranks that AdaLoRA allocated, which it takes for LoRA's.
    """
    with quiet_peft(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unsupported layer type", category=UserWarning)
        warnings.filterwarnings("ignore", message="The following rank_pattern keys", category=RuntimeWarning)
        yield


def wrap(model: "nn.Module", config: "PeftConfig") -> "nn.Module":
    """The model in PEFT's `PeftModelForSequenceClassification`."""
    from peft import get_peft_model

    with _quiet():
        return get_peft_model(cast("Any", model), config)


def save_adapter(model: "nn.Module", folder: Path) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json`, which plain PEFT opens."""
    # Without the option, PEFT asks the hub for the base's configuration to see whether its vocabulary was resized.
    cast("PeftModel", model).save_pretrained(str(folder), save_embedding_layers=False)
    write_config(folder, json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))


def open_adapter(model: "nn.Module", folder: Path) -> "nn.Module":
    """Put an adapter that PEFT saved onto a bare model.

    Raises:
        MethodError: The folder holds none, or one that does not fit the model.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    if not (folder / "adapter_model.safetensors").is_file():
        raise MethodError(f"{folder} holds no adapter_model.safetensors; give the folder that a run saved")
    try:
        with _quiet():
            return PeftModel.from_pretrained(model, folder)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise MethodError(f"the adapter in {folder} does not fit this encoder: {error}") from error


def merge_adapter(model: "nn.Module") -> "nn.Module":
    """The adapter put into the weights of the model that it is on."""
    from peft.utils import ModulesToSaveWrapper

    adapted = cast("PeftModel", model)
    base = adapted.get_base_model()
    # Only for LoRA can PEFT itself put back a head that is more than one layer, such as a pooler.
    for name, module in list(base.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            base.set_submodule(name, module.modules_to_save[adapted.active_adapter])
    return adapted.merge_and_unload()
