"""Table 3.2's sizes, from what is really written for a BERT-base shape with 32,000 words. No download is needed: the
sizes follow from the shapes.

The thesis measured the folder that `Trainer.save_model` writes: PEFT's three files and `training_args.bin`, a pickle of
the settings, some 5 kB. Tanzaku writes no pickle, so its folders are smaller by that much, which shows in the second
decimal at rank 4 alone (0.63 MB for 0.64).
"""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments
from transformers.initialization import no_init_weights

from tanzaku.files import folder_bytes
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.report.formats import megabytes

TABLE_3_2 = {2: "0.34", 4: "0.64", 8: "1.2", 32: "4.8", 64: "9.5", 128: "18.9", 256: "37.8"}


@pytest.fixture(scope="module")
def training_arguments_bytes(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The size of the file that Trainer adds."""
    folder = tmp_path_factory.mktemp("arguments")
    torch.save(TrainingArguments(output_dir=str(folder / "out"), report_to="none"), folder / "training_args.bin")
    return (folder / "training_args.bin").stat().st_size


@pytest.fixture(scope="module")
def bert_base() -> BertForSequenceClassification:
    with no_init_weights():
        model = BertForSequenceClassification(BertConfig(vocab_size=32_000, num_labels=9))
    model.name_or_path = "tohoku-nlp/bert-base-japanese"
    return model


@pytest.mark.parametrize(("rank", "expected"), TABLE_3_2.items())
def test_an_adapters_size_is_the_tables(
    tmp_path: Path, bert_base: nn.Module, training_arguments_bytes: int, rank: int, expected: str
) -> None:
    method = METHODS["lora"].model_validate({"rank": rank})
    assert isinstance(method, EncoderMethod)
    model = method.attach(bert_base, head=("classifier",))
    method.save(model, tmp_path)
    model.unload()  # type: ignore[operator]
    size = folder_bytes(tmp_path)
    assert megabytes((size + training_arguments_bytes) / 1e6) == expected
    assert megabytes(size / 1e6) == ("0.63" if rank == 4 else expected)


def test_the_full_models_size_is_the_tables(tmp_path: Path, bert_base: nn.Module) -> None:
    method = METHODS["full"]()
    assert isinstance(method, EncoderMethod)
    method.save(bert_base, tmp_path)
    assert megabytes(folder_bytes(tmp_path) / 1e6) == "442.5"
