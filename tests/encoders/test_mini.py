"""The embedded encoder: small, whole, and what plain transformers makes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tanzaku.encoders.inspection import check_encoder
from tanzaku.encoders.load import load_tokenizer
from tanzaku.encoders.source import EMBEDDED_NAME, resolve_encoder
from tanzaku.encoders.words import WordIds
from tanzaku.pretraining.record import read_pretrain_record

LARGEST_BYTES = 32_000_000
SENTENCE = "「ファイル」を選び、「開く」をクリック[MASK]ます。"
# In a process of its own, which knows nothing of Tanzaku: auto classes, no network.
PLAIN = """
import json, sys
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

folder, sentence = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model, info = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
encoder = AutoModel.from_pretrained(folder)
encoded = tokenizer(sentence, return_tensors="pt")
with torch.no_grad():
    logits = model(**encoded).logits[0]
    hidden = encoder(**encoded).last_hidden_state
place = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
best = logits[place].topk(5).indices.tolist()
print(json.dumps({
    "tokenizer": type(tokenizer).__name__,
    "model": type(model).__name__,
    "encoder": type(encoder).__name__,
    "stored": str(encoder.dtype),
    "missing": sorted(info["missing_keys"]),
    "unexpected": sorted(info["unexpected_keys"]),
    "ids": encoded["input_ids"][0].tolist(),
    "tokens": tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist()),
    "best": tokenizer.convert_ids_to_tokens(best),
    "shape": list(hidden.shape),
}))
"""


@pytest.fixture(scope="module")
def mini() -> Path:
    return resolve_encoder(EMBEDDED_NAME).folder


@pytest.fixture(scope="module")
def plain(mini: Path) -> dict[str, Any]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PLAIN, str(mini), SENTENCE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_is_small_with_its_vocabulary(mini: Path) -> None:
    assert sum(path.stat().st_size for path in mini.iterdir()) <= LARGEST_BYTES


def test_plain_transformers_opens_it_whole(plain: dict[str, Any]) -> None:
    assert (plain["tokenizer"], plain["model"], plain["encoder"]) == (
        "BertJapaneseTokenizer",
        "BertForMaskedLM",
        "BertModel",
    )
    assert plain["stored"] == "torch.float16"
    assert (plain["missing"], plain["unexpected"]) == ([], [])


def test_golden_tokens(plain: dict[str, Any], mini: Path) -> None:
    words = ["「", "ファイル", "」", "を", "選び", "、", "「", "開く", "」", "を", "クリック", "[MASK]", "ます", "。"]
    assert plain["tokens"] == ["[CLS]", *words, "[SEP]"]
    vocabulary = (mini / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert [vocabulary[number] for number in plain["ids"]] == plain["tokens"]
    assert plain["ids"] == [2, 129, 7324, 130, 217, 12062, 123, 129, 8575, 130, 217, 7541, 4, 7220, 124, 3]


def test_golden_prediction(plain: dict[str, Any]) -> None:
    assert plain["best"][0] == "し"


def test_text_is_normalised_before_it_is_cut(mini: Path) -> None:
    tokenizer = load_tokenizer(resolve_encoder(EMBEDDED_NAME))
    words = WordIds.of(tokenizer)
    assert words is not None
    assert words.encode("ｶﾒﾗと１２３", max_tokens=32) == words.encode("カメラと123", max_tokens=32)
    assert tokenizer.unk_token_id not in words.encode("ｶﾒﾗと１２３", max_tokens=32)


def test_nothing_is_to_complain_about() -> None:
    assert {check.status for check in check_encoder(EMBEDDED_NAME)} == {"ok"}


def test_the_card_says_what_the_record_says(mini: Path) -> None:
    record, card = read_pretrain_record(mini), (mini / "README.md").read_text(encoding="utf-8")
    last = record.history[-1]
    assert f"held-out loss of {last.held_out_loss:.2f} nats" in card
    assert f"accuracy of {100 * last.held_out_accuracy:.1f} %" in card
    assert f"{record.encoder.parameters / 1e6:.2f} million parameters" in card
    assert "cc-by-sa-4.0" in card
    for source in record.sources:
        assert source.sha256 in card
        assert "livedoor" not in source.name
