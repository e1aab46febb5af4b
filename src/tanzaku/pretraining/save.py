"""The result: a folder that opens in plain transformers, whole or absent, with its record."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel

from tanzaku.encoders.export import pass_on_card
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.source import EncoderSource
from tanzaku.encoders.weights import converted
from tanzaku.errors import EncoderError, RecordError, SpecError
from tanzaku.files import atomic_folder, write_atomically
from tanzaku.pretraining.record import RECORD_FILE, DistillRecord, PretrainRecord, Record, read_record_of


def save_encoder(
    model: PreTrainedModel,
    write_tokenizer: Callable[[Path], object],
    record: PretrainRecord | DistillRecord,
    out: Path,
    *,
    source: EncoderSource | None,
    dtype: str,
) -> None:
    """Write weights (in `dtype`), configuration, tokenizer and record to `out`. The model is converted in place.

    What was made from the encoder `source` also gets its licence, and a card that names it.

    Raises:
        EncoderError: A weight is infinite or not a number, or becomes so in `dtype`; nothing is written.
    """
    _check_finite(model, dtype=dtype)
    with atomic_folder(out) as staging:
        with quiet_transformers():
            model.to(device="cpu", dtype=getattr(torch, dtype)).eval().save_pretrained(staging)
            write_tokenizer(staging)
        if source is not None:
            command = "pretrain" if record.kind == "pretraining" else "distill"
            pass_on_card(source, staging, made=f"with `tanzaku {command}`; {RECORD_FILE} has the details")
        write_atomically(staging / RECORD_FILE, record.model_dump_json(indent=1) + "\n")


def _check_finite(model: PreTrainedModel, *, dtype: str) -> None:
    weights = model.state_dict()
    try:
        converted(weights, dtype="float32")
    except EncoderError as error:
        raise EncoderError(
            "the trained weights are infinite or no longer numbers, so nothing was saved; start again with a lower "
            "--learning-rate, and with Muon also a lower --muon-learning-rate"
        ) from error
    try:
        converted(weights, dtype=dtype)
    except EncoderError as error:
        raise EncoderError(
            f"some of the trained weights are too large for {dtype}, so nothing was saved; start again with "
            "--save-dtype float32"
        ) from error


def find_result(kind: type[Record], out: Path, *, identity: str) -> Record | None:
    """The record, of this kind, of a result that is there already; None where there is nothing.

    Raises:
        SpecError: `out` holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = read_record_of(kind, out)
    except RecordError:
        record = None
    if record is None or record.identity != identity:
        other = f"another {kind.model_fields['kind'].default}"
        raise SpecError(
            f"{out} is there already and holds {other if record else 'something else'}; "
            "choose another --out, or remove it"
        )
    return record
