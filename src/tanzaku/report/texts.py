"""The words of arms' names."""

import string
from typing import Any

# How documents are read, and what the encoder learnt before, in names and legends.
READINGS = {
    "encoder.max_tokens": "{value:token|tokens}",
    "encoder.pooling": "{value}",
    "encoder.long_text": "{value}",
    "encoder.max_windows": "at most {value:window|windows}",
    "training.hidden_dropout": "hidden dropout {value}",
    "training.attention_dropout": "attention dropout {value}",
    "training.fast": "fast path: {value}",
    "training.precision": "{value}",
    "training.head_learning_rate": "head lr {value}",
    "training.embeddings_learning_rate": "embeddings lr {value}",
    "training.best_by": "best by {value}",
    "training.schedule": "{value}",
    "training.warmup": "warm-up {value}",
    "training.decay": "decay {value}",
    "training.plateau_factor": "reduced by {value}",
    "training.plateau_patience": "after more than {value:epoch|epochs}",
    "encoder.pretrain": "pretrained {value}",
}


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        one, bar, more = format_spec.removeprefix(",").partition("|")
        if not bar:
            return str(super().format_field(value, format_spec))
        number = f"{value:,}" if format_spec.startswith(",") else str(value)
        return f"{number} {one if value == 1 else more}"


def filled(text: str, **values: object) -> str:
    """`text` with its placeholders filled; `{runs:run|runs}` is a number with the first word where it is 1.

    `{documents:,text|texts}` separates thousands too.

    Raises:
        KeyError: A placeholder got no value.
    """
    return _Formatter().vformat(text, (), values)
