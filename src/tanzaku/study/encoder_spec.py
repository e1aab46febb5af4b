"""What a study file may say of its encoder; bundles say the same of theirs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tanzaku.encoders.reading import LongText, Pooling
from tanzaku.pretraining.options import ContinuedOptions


class EncoderSpec(BaseModel):
    """Which encoder is adapted, and how it reads documents."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(description="Hub id, local folder, or the name of an embedded encoder.")]
    revision: Annotated[str | None, Field(description="Branch, tag or commit on the Hub.")] = None
    max_tokens: Annotated[
        int,
        Field(ge=8, description="Tokens that the encoder reads at once, [CLS] and [SEP] too: of a document or window."),
    ] = 512
    pooling: Annotated[
        Pooling,
        Field(
            description="What the classifier sees: the encoder's pooler on [CLS], the mean of all tokens' hidden "
            "states, or the mean and the maximum side by side."
        ),
    ] = "cls"
    long_text: Annotated[
        LongText,
        Field(
            description="What is read of a document of more than max_tokens: its first tokens, its first and last "
            "ones, or all of it in windows whose features are averaged."
        ),
    ] = "head"
    max_windows: Annotated[
        int | None,
        Field(
            ge=1,
            description="Windows of a document that are read at most, for memory: what follows the first so many is "
            'left out. Without it, all are. Only used for long_text = "windows".',
        ),
    ] = None

    pretrain: Annotated[
        ContinuedOptions | None,
        Field(description="Pretraining of the encoder on the training texts, before any arm; false or nothing: none."),
    ] = None

    @field_validator("pretrain", mode="before", json_schema_input_type=ContinuedOptions | Literal[False] | None)
    @classmethod
    def _parse_pretrain(cls, value: Any) -> Any:
        return None if value is False else value

    @field_validator("max_windows")
    @classmethod
    def _windows_alone(cls, value: int | None, others: ValidationInfo) -> int | None:
        """Where it changes nothing it is None, so that it makes no other run of the same one."""
        return value if others.data.get("long_text") == "windows" else None


# Not settings: which encoder it is.
ENCODER_NAMES = ("name", "revision")
# What an arm may set of `[encoder]`.
ENCODER_SETTINGS = tuple(name for name in EncoderSpec.model_fields if name not in ENCODER_NAMES)
