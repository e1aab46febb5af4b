"""An encoder as a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from tanzaku.encoders.export import export_encoder
from tanzaku.encoders.files import Q4_FILE
from tanzaku.encoders.load import load_classifier, load_encoder
from tanzaku.encoders.quantized import quantize_matrices
from tanzaku.encoders.source import resolve_encoder
from tanzaku.encoders.tokenizer import load_tokenizer
from tanzaku.errors import EncoderError, TanzakuError
from tests.checkpoints import make_deberta, make_mecab_bert, make_roberta, sentences, write_json


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose matrices of 32 columns or more were rounded to 4 bits, saved in float16, with a licence."""
    folder = make_roberta(tmp_path_factory.mktemp("four bits") / "encoder")
    weights = load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            blocks = tensor.float().unflatten(1, (-1, 32))
            scales = (blocks.abs().amax(dim=2, keepdim=True) / 8).half().float()
            numbers = (blocks / scales.clamp(min=1e-6)).round().clamp(-8, 7)
            numbers[:, :, 0] = -8
            tensor = (numbers * scales).flatten(1)
        weights[name] = tensor.half().contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "LICENSE").write_text("MIT\n", encoding="utf-8")
    return folder


def test_four_bits_and_back_gives_equal_weights(encoder: Path, tmp_path: Path) -> None:
    packed, wide = tmp_path / "packed", tmp_path / "wide"
    exported = export_encoder(resolve_encoder(str(encoder)), packed, dtype="q4")
    export_encoder(resolve_encoder(str(packed)), wide)
    before, after = (load_file(folder / "model.safetensors") for folder in (encoder, wide))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (packed / Q4_FILE).stat().st_size < (encoder / "model.safetensors").stat().st_size / 2
    assert exported.bytes_after == sum(path.stat().st_size for path in packed.iterdir())
    assert exported.parameters == sum(tensor.numel() for tensor in before.values())
    assert (wide / "LICENSE").read_text(encoding="utf-8") == "MIT\n"


def test_transformers_segments_an_exported_old_checkpoint_as_it_was_pretrained(tmp_path: Path) -> None:
    """It does not name MeCab's dictionary, for which transformers takes another one today."""
    folder = make_mecab_bert(tmp_path / "old", tokenizer_settings={}, config_settings={})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertJapaneseTokenizer"})
    export_encoder(resolve_encoder(str(folder)), tmp_path / "new")
    text = "山について友だちと話す。"
    expected = load_tokenizer(resolve_encoder(str(folder)))(text)["input_ids"]
    assert AutoTokenizer.from_pretrained(tmp_path / "new")(text)["input_ids"] == expected
    assert load_tokenizer(resolve_encoder(str(tmp_path / "new")))(text)["input_ids"] == expected


def test_transformers_normalises_texts_for_an_exported_deberta_as_in_its_pretraining(tmp_path: Path) -> None:
    source = resolve_encoder(str(make_deberta(tmp_path / "deberta")))
    export_encoder(source, tmp_path / "new")
    texts = ["２０２４年　１２月の空", "ｶﾅの①番と雲", *sentences()[:5]]
    expected = load_tokenizer(source)(texts)["input_ids"]
    assert AutoTokenizer.from_pretrained(tmp_path / "new")(texts)["input_ids"] == expected
    assert load_tokenizer(resolve_encoder(str(tmp_path / "new")))(texts)["input_ids"] == expected


def test_a_classifier_on_four_bits_is_the_one_on_the_original(encoder: Path, tmp_path: Path) -> None:
    export_encoder(resolve_encoder(str(encoder)), tmp_path / "packed", dtype="q4")
    logits = []
    for folder in (encoder, tmp_path / "packed"):
        source = resolve_encoder(str(folder))
        rows = load_tokenizer(source)(list(sentences()[:4]), padding=True, truncation=True, return_tensors="pt")
        model = load_classifier(source, label_names=("a", "b"), seed=3).model.eval()
        with torch.inference_mode():
            logits.append(model(**rows).logits)
    assert torch.equal(*logits)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_transformers_opens_what_was_exported(encoder: Path, tmp_path: Path, dtype: Any) -> None:
    packed, out = tmp_path / "packed", tmp_path / "out"
    export_encoder(resolve_encoder(str(encoder)), packed, dtype="q4")
    export_encoder(resolve_encoder(str(packed)), out, dtype=dtype)
    model, tokenizer = AutoModel.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert model.dtype == getattr(torch, dtype)
    rows = tokenizer(list(sentences()[:2]), padding=True, truncation=True, max_length=60, return_tensors="pt")
    with torch.inference_mode():
        states = [
            one(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).last_hidden_state
            for one in (model.float().eval(), load_encoder(resolve_encoder(str(encoder))))
        ]
    np.testing.assert_allclose(states[0].numpy(), states[1].numpy(), atol=1e-6)


def test_an_encoder_that_four_bits_would_change_is_refused(tmp_path: Path) -> None:
    source = resolve_encoder(str(make_roberta(tmp_path / "encoder")))
    with pytest.raises(EncoderError, match="can't be stored in q4 without loss; q4 is for encoders whose matrices"):
        export_encoder(source, tmp_path / "out", dtype="q4")
    export_encoder(source, tmp_path / "rounded", dtype="float16")
    weights = load_file(tmp_path / "rounded" / "model.safetensors")
    zeros = torch.zeros(2, 32, dtype=torch.float16)  # fits into 4 bits in any encoder
    save_file({**weights, "unused": zeros}, tmp_path / "rounded" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="nothing would be saved; q4 is for encoders whose matrices"):
        export_encoder(resolve_encoder(str(tmp_path / "rounded")), tmp_path / "out", dtype="q4")
    assert not (tmp_path / "out").exists()


def test_licences_go_with_the_folder_however_their_files_are_written(encoder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(encoder, tmp_path / "encoder")
    names = ["LICENSE", "Licence.rst", "COPYING", "license-apache", "Notice.md"]
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")
    export_encoder(resolve_encoder(str(folder)), tmp_path / "out")
    assert [(tmp_path / "out" / name).read_text(encoding="utf-8") for name in names] == names


def test_a_folder_with_something_in_it_is_left_as_it_is(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "note").touch()
    with pytest.raises(TanzakuError, match="is not empty"):
        export_encoder(resolve_encoder(str(encoder)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_damaged_scales_are_found(encoder: Path, tmp_path: Path) -> None:
    export_encoder(resolve_encoder(str(encoder)), tmp_path / "packed", dtype="q4")
    weights = load_file(tmp_path / "packed" / Q4_FILE)
    name = next(name for name in weights if name.endswith(".q4_scales"))
    shutil.copytree(tmp_path / "packed", tmp_path / "damaged")
    save_file({**weights, name: weights[name] * torch.inf}, tmp_path / "damaged" / Q4_FILE)
    with pytest.raises(EncoderError, match="infinite or not"):
        load_encoder(resolve_encoder(str(tmp_path / "damaged")))


def test_the_command_writes_the_folder_and_prints_its_path(encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "tanzaku", "encoder", "export", str(encoder), str(out), "--dtype", "q4"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{out}\n"
    assert f"{sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB in q4" in done.stderr


def test_the_command_looks_at_the_folder_before_it_fetches_the_encoder(tmp_path: Path) -> None:
    (tmp_path / "note").touch()
    done = subprocess.run(
        [sys.executable, "-m", "tanzaku", "encoder", "export", "no/such-encoder", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 1
    assert "already exists and is not empty" in done.stderr


def test_what_was_packed_in_eight_bits_is_exported_as_wide_weights(encoder: Path, tmp_path: Path) -> None:
    """And its parameters are counted, not its scales."""
    narrow = shutil.copytree(encoder, tmp_path / "narrow")
    weights = {name: tensor.float() for name, tensor in load_file(encoder / "model.safetensors").items()}
    save_file(quantize_matrices(weights, head=()), narrow / "model.safetensors", metadata={"format": "pt"})
    exported = export_encoder(resolve_encoder(str(narrow)), tmp_path / "wide", dtype="float32")
    wide = load_file(tmp_path / "wide" / "model.safetensors")
    assert wide.keys() == weights.keys()
    assert all(tensor.dtype == torch.float32 for tensor in wide.values() if tensor.is_floating_point())
    for name, tensor in weights.items():
        torch.testing.assert_close(wide[name], tensor, rtol=0, atol=float(tensor.abs().max()) / 127)
    assert exported.parameters == sum(tensor.numel() for tensor in weights.values())


def test_tied_weights_of_a_pickle_are_written_and_count_once(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", layout="bin")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    table = weights["bert.embeddings.word_embeddings.weight"]
    torch.save(weights | {"cls.predictions.decoder.weight": table}, folder / "pytorch_model.bin")
    exported = export_encoder(resolve_encoder(str(folder)), tmp_path / "out", dtype="float32")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(written["cls.predictions.decoder.weight"], table)
    assert torch.equal(written["bert.embeddings.word_embeddings.weight"], table)
    kept = {name: tensor for name, tensor in weights.items() if name != "cls.predictions.decoder.weight"}
    assert exported.parameters == sum(tensor.numel() for tensor in kept.values() if tensor.is_floating_point())


def test_weights_that_float16_cannot_hold_are_refused(encoder: Path, tmp_path: Path) -> None:
    large = shutil.copytree(encoder, tmp_path / "large")
    weights = {name: tensor.float() for name, tensor in load_file(encoder / "model.safetensors").items()}
    name = next(iter(weights))
    weights[name].view(-1)[0] = 70_000.0
    save_file(weights, large / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=rf"{name} has a weight of 70000, which is too large for float16; use"):
        export_encoder(resolve_encoder(str(large)), tmp_path / "out")
    export_encoder(resolve_encoder(str(large)), tmp_path / "out", dtype="float32")
