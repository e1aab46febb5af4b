"""What a trimming writes besides the tokenizer: licences and weights in 4 bits; and which of few lines it holds out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from tanzaku.encoders.card import CARD_FILE
from tanzaku.encoders.compact import round_weights
from tanzaku.encoders.export import export_encoder
from tanzaku.encoders.files import SAFETENSORS_FILE
from tanzaku.encoders.load import load_encoder, load_tokenizer, resolve_encoder
from tanzaku.encoders.source import files_of
from tanzaku.encoders.trimming.record import RECORD_FILE
from tanzaku.encoders.trimming.trim import trim
from tanzaku.encoders.weights import read_stored_weights
from tests.checkpoints import KINDS, make_roberta, sentences


@pytest.mark.parametrize(
    "terms",
    [
        {"license": "other", "license_name": "model-terms", "license_link": "https://example.org/terms"},
        {"license": ["mit", "cc-by-4.0"]},
    ],
)
def test_the_card_keeps_licences_that_have_no_single_name(tmp_path: Path, terms: dict[str, Any]) -> None:
    encoder = KINDS["bert-ipadic"][0](tmp_path / "encoder")
    (encoder / CARD_FILE).write_text(f"---\n{json.dumps(terms)}\n---\n", encoding="utf-8")
    trim(resolve_encoder(str(encoder)), sentences(), tmp_path / "trimmed", min_count=1)
    found = ModelCard.load(tmp_path / "trimmed" / CARD_FILE, ignore_metadata_errors=False).data.to_dict()
    assert {key: value for key, value in found.items() if key.startswith("license")} == terms


def test_an_encoder_in_four_bits_stays_in_them(tmp_path: Path) -> None:
    folder = make_roberta(tmp_path / "encoder")
    weights = round_weights(load_file(folder / SAFETENSORS_FILE), head=())
    save_file(weights, folder / SAFETENSORS_FILE, metadata={"format": "pt"})
    export_encoder(resolve_encoder(str(folder)), tmp_path / "q4", dtype="q4")
    source = resolve_encoder(str(tmp_path / "q4"))
    record = trim(source, sentences()[::4], tmp_path / "stored", min_count=1, characters="seen")
    trim(source, sentences()[::4], tmp_path / "float16", min_count=1, characters="seen", dtype="float16")
    packed, wide = (resolve_encoder(str(tmp_path / name)) for name in ("stored", "float16"))
    assert files_of(packed).weights_format == "q4"
    files = [path for path in packed.folder.iterdir() if path.name not in (RECORD_FILE, CARD_FILE)]
    assert record.after.bytes == sum(path.stat().st_size for path in files) < record.before.bytes
    narrow, half = read_stored_weights(packed), read_stored_weights(wide)
    assert narrow.keys() == half.keys()
    assert all(torch.equal(narrow[name], half[name]) for name in narrow)
    ids = torch.tensor([load_tokenizer(packed)(sentences()[0])["input_ids"]])
    with torch.inference_mode():
        states = [load_encoder(one)(input_ids=ids).last_hidden_state for one in (packed, wide)]
    assert torch.equal(*states)


def test_one_of_few_lines_is_held_out(tmp_path: Path) -> None:
    source = resolve_encoder(str(KINDS["bert-character"][0](tmp_path / "encoder")))
    record = trim(source, ["海に船がある。"] * 5, tmp_path / "five", min_count=1, characters="seen")
    assert record.held_out is not None
    assert (record.held_out.lines, record.lines) == (1, 4)
    assert record.parity is not None
    kept = load_tokenizer(resolve_encoder(str(tmp_path / "five"))).get_vocab()
    other = trim(source, ["海に船がある。"] * 4 + ["白い雲"], tmp_path / "other", min_count=1, characters="seen")
    assert load_tokenizer(resolve_encoder(str(tmp_path / "other"))).get_vocab() == kept  # the last was not counted
    assert other.held_out is not None
    assert trim(source, ["海"] * 5, tmp_path / "none", held_out=0).held_out is None
    assert trim(source, ["海"], tmp_path / "single").held_out is None
