"""The result: a folder that opens in plain transformers, whole or absent, with its record."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tanzaku.encoders.load import max_positions
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.errors import RecordError, SpecError
from tanzaku.files import atomic_folder, write_atomically
from tanzaku.pretraining.record import RECORD_FILE, PretrainRecord, read_pretrain_record


def save_encoder(
    model: PreTrainedModel, tokenizer: Any, record: PretrainRecord, out: Path, *, dtype: torch.dtype
) -> None:
    """Write weights (in `dtype`), configuration, tokenizer and record to `out`. The model is converted in place."""
    tokenizer.model_max_length = max_positions(model.config) or record.options["max_tokens"]
    with atomic_folder(out) as staging:
        with quiet_transformers():
            model.to(device="cpu", dtype=dtype).eval().save_pretrained(staging)
            tokenizer.save_pretrained(staging)
        write_atomically(staging / RECORD_FILE, record.model_dump_json(indent=1) + "\n")


def find_result(out: Path, *, identity: str) -> PretrainRecord | None:
    """The record of a result that is there already; None where there is nothing.

    Raises:
        SpecError: `out` holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = read_pretrain_record(out)
    except RecordError:
        record = None
    if record is None or record.identity != identity:
        raise SpecError(
            f"{out} is there already and holds {'another pretraining' if record else 'something else'}; "
            "choose another --out, or remove it"
        )
    return record
