"""What a study file may say, and the runs that follow from it.

A study file is TOML: `name`, `seeds`, `recipe`, `[data]`, `[encoder]`, `[training]` and one `[[arms]]` a group of runs.
An arm names its `method` and gives, flat, the method's options and whatever of `[training]` and of `[encoder]` (but for
which encoder it is) it sets differently, and it may have a `recipe` of its own; a list where one value is expected is
an axis of the grid. `expansion.py` reads the file and turns a study into fully resolved runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from tanzaku.encoders.source import absolute_name
from tanzaku.errors import SpecError
from tanzaku.measure.metrics import DEFAULT_CHOOSE_BY, ChooseBy
from tanzaku.methods import METHODS, EncoderMethod, TextMethod
from tanzaku.study.encoder_spec import ENCODER_NAMES, EncoderSpec
from tanzaku.study.recipes import RecipeName
from tanzaku.study.tune_settings import TuneSpec
from tanzaku.training.schedule import ScheduleName

# So much of a run's identity ends the name of its folder.
IDENTITY_DIGITS = 10

# In the place of a seed in the runs of a deterministic method, which each counts for every seed of its study.
SEED_OF_DETERMINISTIC = 0

Seed = Annotated[int, Field(ge=0, lt=2**32, description="Of the head, the method, the order and the dropout.")]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSpec(_Spec):
    """Where the documents come from."""

    source: Annotated[
        str, Field(description='A folder that `tanzaku data` prepared, or "sample" for the embedded corpus.')
    ]


class DistillSpec(_Spec):
    """A fine-tuned classifier whose soft labels are learned in addition to the labels."""

    teacher: Annotated[str, Field(description="Folder of a bundle with the same labels, from `tanzaku pack`.")]
    texts: Annotated[
        str | None,
        Field(description="File of further texts without labels (.txt with one text per line, .csv, .jsonl, …)."),
    ] = None
    temperature: Annotated[float, Field(gt=0, description="Of both distributions; above 1 they are flatter.")] = 2.0
    weight: Annotated[
        float, Field(gt=0, le=1, description="Of the soft labels in the loss; that of the labels is 1 minus this.")
    ] = 0.5


def describe_distillation(content: Mapping[str, Any], *, paths: bool = False) -> str:
    """A `DistillSpec`, as a record has it, in few words: "full-bundle", or "full-bundle and texts.txt, weight 0.8".

    With `paths`, it has the folders of both files too.
    """
    given = [content[name] for name in ("teacher", "texts") if content.get(name)]
    named = " and ".join(given if paths else [Path(name).name for name in given])
    fields = DistillSpec.model_fields
    numbers = {name: content.get(name, fields[name].default) for name in ("temperature", "weight")}
    changed = [f"{name} {value:g}" for name, value in numbers.items() if value != fields[name].default]
    return ", ".join([named, *changed])


class TrainingSpec(_Spec):
    """How an encoder method is trained; the defaults are those of Hugging Face's `Trainer`."""

    learning_rate: Annotated[float, Field(gt=0, description="At its highest; `schedule` says when that is.")]
    head_learning_rate: Annotated[
        float | None,
        Field(gt=0, description="Of the head, the modules that the checkpoint lacks; without it, the same."),
    ] = None
    embeddings_learning_rate: Annotated[
        float | None,
        Field(gt=0, description="Of the word embeddings, or of what adapts them; without it, the same."),
    ] = None
    schedule: Annotated[
        ScheduleName,
        Field(
            description="How the rate moves over the steps: linear or cosine to 0, constant, wsd (constant, then to "
            "0), or plateau (reduced where the validation loss stands still)."
        ),
    ] = "linear"
    warmup: Annotated[
        float, Field(ge=0, lt=1, description="Share of the steps over which the rate first rises from 0.")
    ] = 0.0
    decay: Annotated[
        float,
        Field(gt=0, le=1, description='Share of the steps, the last, over which the rate falls; only for "wsd".'),
    ] = 0.2
    plateau_factor: Annotated[
        float, Field(gt=0, lt=1, description='The rate is multiplied by this at a reduction; only for "plateau".')
    ] = 0.5
    plateau_patience: Annotated[
        int,
        Field(ge=0, description='Epochs without improvement before the rate is reduced; only for "plateau".'),
    ] = 1
    epochs: Annotated[int, Field(ge=1, description="At most so many passes over the training documents.")] = 5
    batch_size: Annotated[int, Field(ge=1, description="Documents a step.")] = 8
    eval_batch_size: Annotated[
        int, Field(ge=1, description="Documents, or windows of documents, a batch in evaluation.")
    ] = 32
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's decoupled weight decay.")] = 0.0
    beta1: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the first moment.")] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the second moment.")] = 0.999
    epsilon: Annotated[float, Field(gt=0, description="AdamW's ε.")] = 1e-8
    max_grad_norm: Annotated[float, Field(gt=0, description="The gradient is clipped to this Euclidean norm.")] = 1.0
    patience: Annotated[
        int | None, Field(ge=1, description="Stop after so many epochs without improvement; without it, never.")
    ] = None
    threshold: Annotated[
        float,
        Field(
            ge=0,
            description="A smaller fall of the validation loss (for `patience` of what best_by names) is not an "
            "improvement for `patience` and plateau.",
        ),
    ] = 0.0
    best_by: Annotated[
        Literal["loss", "accuracy"],
        Field(
            description="What of the validation set chooses the best epoch, whose weights are kept, and is watched by "
            "`patience`. By loss, the epoch with the lowest; by accuracy, the latest that is at most a standard error "
            "below the highest."
        ),
    ] = "loss"
    padding: Annotated[
        Literal["longest", "max_tokens"],
        Field(description="Pad a batch to its longest document, or always to max_tokens as the thesis's scripts do."),
    ] = "longest"
    hidden_dropout: Annotated[
        Literal["encoder"] | Annotated[float, Field(ge=0, lt=1)],
        Field(description='Dropout on hidden states while training; "encoder" for that of its configuration.'),
    ] = 0.0
    attention_dropout: Annotated[
        Literal["encoder"] | Annotated[float, Field(ge=0, lt=1)],
        Field(description='Dropout on attention probabilities; "encoder" for that of its configuration.'),
    ] = 0.0
    distill: Annotated[
        DistillSpec | None,
        Field(description="A fine-tuned classifier that labels are also learned from; false or nothing: none."),
    ] = None
    fast: Annotated[
        bool, Field(description="Take the fast path where encoder and method allow it; false for transformers' own.")
    ] = True
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(
            description="Of matrix products and, on the fast path, frozen weights; auto is bfloat16 where the hardware "
            "has it and fast is true, and float32 elsewhere."
        ),
    ] = "auto"
    log_steps: Annotated[int, Field(ge=1, description="The training curve has one point for so many steps.")] = 10
    checkpoint_minutes: Annotated[
        float, Field(gt=0, description="Save a checkpoint at least so often, besides each epoch's end.")
    ] = 10.0

    @model_validator(mode="after")
    def _parts_fit(self) -> TrainingSpec:
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup = {self.warmup:g} and decay = {self.decay:g} are more than all steps together")
        return self

    @field_validator("distill", mode="before", json_schema_input_type=DistillSpec | Literal[False] | None)
    @classmethod
    def _parse_distill(cls, value: Any) -> Any:
        return None if value is False else value

    @field_validator("decay", "plateau_factor", "plateau_patience")
    @classmethod
    def _of_this_schedule(cls, value: float, others: ValidationInfo) -> float:
        """Where another schedule has no use for it it is at its default, so that it makes no other run of the same."""
        name = str(others.field_name)
        return value if others.data.get("schedule") == SCHEDULE_OF[name] else cls.model_fields[name].default


# Which schedule a setting is for.
SCHEDULE_OF = {"decay": "wsd", "plateau_factor": "plateau", "plateau_patience": "plateau"}


class _RunSpec(_Spec):
    """What every run has, fully resolved. `choose_by` is the study's, for its report: it changes nothing of the run."""

    kind: Literal["encoder", "text"]
    data: DataSpec
    method: EncoderMethod | TextMethod
    seed: Seed
    choose_by: ChooseBy = DEFAULT_CHOOSE_BY

    @field_validator("method", mode="before")
    @classmethod
    def _parse_method(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        options = dict(value)
        return method_named(str(options.pop("name", "")), where="method").model_validate(options)

    @field_serializer("method")
    def _dump_method(self, method: EncoderMethod | TextMethod) -> dict[str, Any]:
        return {"name": self.method_name, **method.model_dump(mode="json")}

    @property
    def method_name(self) -> str:
        """The method's name, its key in `METHODS`."""
        return self.method.name


class EncoderRunSpec(_RunSpec):
    """A run of a method that adapts an encoder."""

    kind: Literal["encoder"] = "encoder"
    encoder: EncoderSpec
    method: EncoderMethod
    training: TrainingSpec

    def identity(
        self, *, data_fingerprint: str, encoder_fingerprint: str, teacher_fingerprint: str | None = None
    ) -> str:
        """SHA-256 of all that the run's result depends on.

        The names of the data, the encoder and a teacher are left out, since their contents count, and so is how often a
        checkpoint is saved and what arms are chosen by, since that changes nothing. A pretraining shows in the
        fingerprint of the encoder that it gave.
        """
        content = self.model_dump(
            mode="json",
            exclude={
                **_NOT_IDENTITY,
                "encoder": {*ENCODER_NAMES, "pretrain"},
                "training": {"checkpoint_minutes", "distill"},
            },
        )
        if (distill := self.training.distill) is not None:
            content["distill"] = [teacher_fingerprint, distill.temperature, distill.weight]
        return _sha256(content | {"data_fingerprint": data_fingerprint, "encoder_fingerprint": encoder_fingerprint})


class TextRunSpec(_RunSpec):
    """A run of a method that learns only from the texts."""

    kind: Literal["text"] = "text"
    method: TextMethod

    def identity(self, *, data_fingerprint: str) -> str:
        """SHA-256 of all that the run's result depends on; see `EncoderRunSpec.identity`.

        Raises:
            MethodError: The method reads a file that can't be found.
        """
        content = self.model_dump(mode="json", exclude=_NOT_IDENTITY)
        content["method"] |= self.method.fingerprints()
        return _sha256(content | {"data_fingerprint": data_fingerprint})


RunSpec = EncoderRunSpec | TextRunSpec
RUN_SPEC: TypeAdapter[RunSpec] = TypeAdapter(Annotated[RunSpec, Field(discriminator="kind")])
"""Reads the settings of a run from a dictionary or JSON."""

_NOT_IDENTITY = {"data": True, "choose_by": True}


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class StudySpec(_Spec):
    """A study file as it was written, overrides applied; `arms` are not yet expanded."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names the study and its folder.")]
    description: Annotated[str, Field(description="What the study is for.")] = ""
    seeds: Annotated[
        tuple[Seed, ...], Field(min_length=1, description="Each arm is run once a seed; a deterministic one once.")
    ] = (42,)
    choose_by: Annotated[
        ChooseBy,
        Field(
            description="What of the validation set the best and the recommended arm are chosen by; macro_f1 gives a "
            "rare class the weight of a frequent one."
        ),
    ] = DEFAULT_CHOOSE_BY
    recipe: Annotated[
        RecipeName, Field(description="Fills in what neither [encoder], [training] nor an arm says; see recipes.py.")
    ] = "none"
    data: DataSpec
    encoder: Annotated[
        dict[str, Any] | None, Field(description="As `EncoderSpec`; methods that learn from texts need none.")
    ] = None
    training: Annotated[dict[str, Any], Field(description="As `TrainingSpec`; what arms share.")] = {}
    tune: Annotated[TuneSpec | None, Field(description="Only for `tanzaku study tune`.")] = None
    arms: Annotated[tuple[dict[str, Any], ...], Field(min_length=1, description="Groups of runs.")]

    def with_absolute_encoder(self) -> StudySpec:
        """The study with an encoder's name that its records can be used with from every folder: see `absolute_name`."""
        if not self.encoder or not isinstance(self.encoder.get("name"), str):
            return self
        return self.model_copy(update={"encoder": self.encoder | {"name": absolute_name(self.encoder["name"])}})


def method_named(name: str, *, where: str) -> type[EncoderMethod] | type[TextMethod]:
    """Look up a method.

    Raises:
        SpecError: There is none of this name; the message lists those there are.
    """
    if name not in METHODS:
        raise SpecError(
            f"{where}: there is no method {name!r}; choose one of {', '.join(METHODS)}, or install "
            "the package that brings it"
        )
    return METHODS[name]
