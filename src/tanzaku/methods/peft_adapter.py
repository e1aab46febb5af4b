"""What the methods that wrap PEFT share: wrapping, saving, opening and merging an adapter."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from abc import ABC
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tanzaku.errors import MethodError
from tanzaku.methods.adapter import CONFIG_FILE, WEIGHTS_FILE, write_config
from tanzaku.methods.interface import EncoderMethod

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import nn


class PeftMethod(EncoderMethod, ABC):
    """A method whose `attach` wraps the model in PEFT's `PeftModelForSequenceClassification`; see `wrap`."""

    opens_in_peft: ClassVar[bool] = True

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write `adapter_model.safetensors` and `adapter_config.json`, which plain PEFT opens."""
        # Without the option, PEFT asks the Hub for the base's configuration to see whether its vocabulary was resized.
        cast("PeftModel", model).save_pretrained(str(folder), save_embedding_layers=False)
        write_config(folder, json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Open the adapter with PEFT."""
        from peft import PeftModel
        from safetensors import SafetensorError

        if not (folder / WEIGHTS_FILE).is_file():
            raise MethodError(f"{folder} holds no {WEIGHTS_FILE}; give the folder that a run saved")
        try:
            with quiet_attaching():
                # PEFT would leave what the file lacks as it was drawn at random.
                warnings.filterwarnings("error", message="Found missing adapter keys")
                adapted: nn.Module = PeftModel.from_pretrained(model, folder)
                return adapted
        except (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError, UserWarning) as error:
            raise MethodError(f"the adapter in {folder} does not fit this encoder: {error}") from error

    def merge(self, model: nn.Module) -> nn.Module:
        """Put the adapter into the encoder's own weights."""
        from peft.utils import ModulesToSaveWrapper

        adapted = cast("PeftModel", model)
        base = adapted.get_base_model()
        # Only for LoRA can PEFT itself put back a head that is more than one layer, such as a pooler.
        for name, module in list(base.named_modules()):
            if isinstance(module, ModulesToSaveWrapper):
                base.set_submodule(name, module.modules_to_save[adapted.active_adapter])
        merged: nn.Module = adapted.merge_and_unload()
        return merged


def head_settings(head: Sequence[str]) -> dict[str, Any]:
    """What every configuration of PEFT's says of the head: train and save it, and adapt nothing inside it."""
    return {
        "task_type": "SEQ_CLS",
        "modules_to_save": [name.rpartition(".")[2] for name in head],
        "exclude_modules": rf"(.*\.)?({'|'.join(map(re.escape, head))})(\..*)?",
    }


def wrap(model: nn.Module, config: PeftConfig) -> nn.Module:
    """The model in PEFT's `PeftModelForSequenceClassification`."""
    from peft import get_peft_model

    with quiet_attaching():
        adapted: nn.Module = get_peft_model(cast("Any", model), config)
        return adapted


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Keep back what no user can mend.

    PEFT reads a property that transformers has renamed, and warns of a conversion of its own that is not the one used
    here.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Using Rank-Stabilized LoRA with rank_pattern")
        yield


@contextlib.contextmanager
def quiet_attaching() -> Iterator[None]:
    """Keep back what is no fault, too.

    PEFT warns of layers without a width that it knows, LayerNorm among them, though our methods check the layers first,
    and of the ranks that AdaLoRA allocated, which it takes for LoRA's.
    """
    with quiet_peft(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unsupported layer type", category=UserWarning)
        warnings.filterwarnings("ignore", message="The following rank_pattern keys", category=RuntimeWarning)
        yield
