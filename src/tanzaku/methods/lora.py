"""LoRA (Hu et al. 2021, arXiv 2106.09685), through PEFT: W' = W + (α/r)·B·A on the targeted linear layers."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import Field

from tanzaku.errors import MethodError
from tanzaku.files import write_atomically
from tanzaku.methods.interface import EncoderMethod

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT reads a property that transformers has renamed; no user can mend that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def _sort_names(path: Path) -> None:
    """PEFT writes sets of names in an order that changes from process to process; equal runs write equal bytes."""
    content = json.loads(path.read_text(encoding="utf-8"))
    ordered = {key: sorted(value) if isinstance(value, list) else value for key, value in content.items()}
    write_atomically(path, json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")


class Lora(EncoderMethod):
    """Low-rank updates of frozen linear layers; the head is trained in full."""

    paper: ClassVar[str] = "Hu et al. 2021, arXiv 2106.09685"

    rank: Annotated[int, Field(ge=1, description="Rank r of the update B·A, in columns.")] = 8
    alpha: Annotated[
        Literal["rank"] | Annotated[float, Field(gt=0)],
        Field(description='α of the scale α/r: a number, or "rank" for α = r (scale 1 at every rank).'),
    ] = "rank"
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout probability on the input of A.")] = 0.0
    targets: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Names of the linear layers to update, matched at the end of the full name."),
    ] = ("query", "value")

    @property
    def scale(self) -> float:
        """The effective scale α/r."""
        return self._alpha / self.rank

    @property
    def _alpha(self) -> float:
        return float(self.rank) if self.alpha == "rank" else float(self.alpha)

    def details(self) -> dict[str, float | int | str]:
        """The effective scale, which a fixed α shrinks as the rank grows."""
        return {"scale": self.scale}

    def label(self, name: str) -> str:
        """Such as `lora-r8`."""
        return f"{name}-r{self.rank}"

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Wrap the model in PEFT's `PeftModelForSequenceClassification`."""
        from peft import LoraConfig, TaskType, get_peft_model

        self._target_layers(model, head)
        alpha = int(self._alpha) if self._alpha.is_integer() else self._alpha
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=self.rank,
            lora_alpha=alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.targets),
            modules_to_save=[name.rpartition(".")[2] for name in head],
            exclude_modules=rf"(.*\.)?({'|'.join(map(re.escape, head))})(\..*)?",
        )
        with quiet_peft():
            return get_peft_model(model, config)

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """Σ r·(inputs + outputs) over the targeted layers (equation 3 of the paper), and the head."""
        from tanzaku.methods.weights import head_parameters

        layers = self._target_layers(model, head)
        return sum(self.rank * (layer.in_features + layer.out_features) for layer in layers) + head_parameters(
            model, head
        )

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write `adapter_model.safetensors` and `adapter_config.json`, which plain PEFT opens."""
        # Without the option, PEFT asks the hub for the base's configuration to see whether its vocabulary was resized.
        cast("PeftModel", model).save_pretrained(str(folder), save_embedding_layers=False)
        _sort_names(folder / "adapter_config.json")

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Open the adapter with PEFT."""
        from peft import PeftModel
        from safetensors import SafetensorError

        if not (folder / "adapter_model.safetensors").is_file():
            raise MethodError(f"{folder} holds no adapter_model.safetensors; give the folder that a LoRA run saved")
        try:
            with quiet_peft():
                return PeftModel.from_pretrained(model, folder)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise MethodError(f"the adapter in {folder} does not fit this encoder: {error}") from error

    def merge(self, model: nn.Module) -> nn.Module:
        """Add (α/r)·B·A to the frozen weights."""
        return cast("PeftModel", model).merge_and_unload()

    def _target_layers(self, model: nn.Module, head: Sequence[str]) -> list[nn.Linear]:
        from torch import nn

        linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        inside_head = tuple(f"{name}." for name in head)
        found: list[nn.Linear] = []
        for target in self.targets:
            matches = [
                module
                for name, module in linear.items()
                if (name == target or name.endswith(f".{target}"))
                and name not in head
                and not name.startswith(inside_head)
            ]
            if not matches:
                choices = sorted({name.rpartition(".")[2] for name in linear} - set(head))
                raise MethodError(
                    f"lora: targets: no linear layer is called {target!r}; this encoder has {', '.join(choices)}"
                )
            found += matches
        return found
