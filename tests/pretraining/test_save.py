import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from tanzaku.errors import EncoderError
from tanzaku.pretraining.record import read_pretrain_record
from tanzaku.pretraining.save import save_encoder

_RECORDS = Path(__file__).parents[2] / "records" / "pretraining"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, r"no longer numbers, so nothing was saved; start again with a lower --learning-rate"),
        (1e5, r"too large for float16, so nothing was saved; start again with --save-dtype float32"),
    ],
    ids=["no number", "too large"],
)
def test_weights_that_are_no_numbers_are_not_saved(
    tiny_encoder: Path, tmp_path: Path, value: float, message: str
) -> None:
    model = AutoModelForMaskedLM.from_pretrained(tiny_encoder)
    record = read_pretrain_record(next(path.parent for path in sorted(_RECORDS.rglob("record.json"))))
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[7, 3] = value
    with pytest.raises(EncoderError, match=message):
        save_encoder(model, lambda _: None, record, tmp_path / "out", source=None, dtype="float16")
    assert not list(tmp_path.iterdir())
