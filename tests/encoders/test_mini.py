"""The embedded encoder: its size, tokens, vectors and papers, and what plain transformers makes of its export."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.record import VECTORS
from benchmarks.vectors import table
from tanzaku.encoders.export import export_encoder
from tanzaku.encoders.inspection import check_encoder
from tanzaku.encoders.load import load_encoder, load_tokenizer
from tanzaku.encoders.source import EMBEDDED_NAME, resolve_encoder
from tanzaku.encoders.trimming.record import TrimmingRecord

LARGEST_BYTES = 20_000_000
SENTENCE = "「ファイル」を選び、「開く」をクリックします。"
GOLDEN_IDS = [0, 1303, 6541, 343, 176, 8475, 1959, 1288, 1128, 343, 8321, 1648, 29, 2]
# The first of the mean of the last hidden states over all tokens, in float32.
GOLDEN_VECTOR = [0.4444397, -0.2580586, -0.1737935, -0.2539364, 0.4076199, -0.0952382, -0.0115675, 0.1433370]
# In a process of its own, which knows nothing of Tanzaku: auto classes, no network.
PLAIN = """
import json, sys
import torch
from transformers import AutoModel, AutoTokenizer

folder, sentence = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
encoder, info = AutoModel.from_pretrained(
    folder, dtype=torch.float32, output_loading_info=True, add_pooling_layer=False
)
encoded = tokenizer(sentence, return_tensors="pt")
with torch.no_grad():
    hidden = encoder(**encoded).last_hidden_state[0]
print(json.dumps({
    "encoder": type(encoder).__name__,
    "missing": sorted(info["missing_keys"]),
    "unexpected": sorted(info["unexpected_keys"]),
    "ids": encoded["input_ids"][0].tolist(),
    "vector": hidden.mean(dim=0).tolist(),
    "tanzaku": "tanzaku" in sys.modules,
}))
"""


@pytest.fixture(scope="module")
def mini() -> Path:
    return resolve_encoder(EMBEDDED_NAME).folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("export") / "mini"
    export_encoder(resolve_encoder(EMBEDDED_NAME), folder)
    assert {"LICENSE", "NOTICE", "README.md", "trimming.json"} <= {path.name for path in folder.iterdir()}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PLAIN, str(folder), SENTENCE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def vector() -> np.ndarray:
    source = resolve_encoder(EMBEDDED_NAME)
    encoded = load_tokenizer(source)(SENTENCE, return_tensors="pt")
    with torch.no_grad():
        mean: np.ndarray = load_encoder(source)(**encoded).last_hidden_state[0].mean(dim=0).numpy()
    return mean


def test_it_is_small_with_its_tokenizer(mini: Path) -> None:
    assert sum(path.stat().st_size for path in mini.iterdir()) <= LARGEST_BYTES


def test_plain_transformers_opens_its_export_whole(plain: dict[str, Any]) -> None:
    assert plain["encoder"] == "BertModel"
    assert (plain["missing"], plain["unexpected"], plain["tanzaku"]) == ([], [], False)


def test_golden_tokens(plain: dict[str, Any]) -> None:
    assert plain["ids"] == GOLDEN_IDS
    assert load_tokenizer(resolve_encoder(EMBEDDED_NAME))(SENTENCE)["input_ids"] == GOLDEN_IDS


def test_golden_vector(plain: dict[str, Any], vector: np.ndarray) -> None:
    np.testing.assert_allclose(vector[: len(GOLDEN_VECTOR)], GOLDEN_VECTOR, atol=2e-4)
    np.testing.assert_allclose(plain["vector"], vector, atol=2e-4)


def test_text_is_normalised_before_it_is_cut() -> None:
    tokenizer = load_tokenizer(resolve_encoder(EMBEDDED_NAME))
    assert tokenizer("ｶﾒﾗと１２３")["input_ids"] == tokenizer("カメラと123")["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer("ｶﾒﾗと１２３、蕎麦。")["input_ids"]


def test_nothing_is_to_complain_about() -> None:
    assert {check.status for check in check_encoder(EMBEDDED_NAME)} == {"ok"}


def test_the_card_and_the_licence_say_what_the_record_says(mini: Path) -> None:
    card, notice = ((mini / name).read_text(encoding="utf-8") for name in ("README.md", "NOTICE"))
    record = TrimmingRecord.model_validate_json((mini / "trimming.json").read_text(encoding="utf-8"))
    assert "license: mit" in card
    assert "MIT License" in (mini / "LICENSE").read_text(encoding="utf-8")
    assert "multilingual-e5-small" in notice
    assert f"{record.after.parameters / 1e6:.1f} million parameters" in card
    assert f"{record.after.pieces:,} pieces" in card
    assert record.held_out is not None
    assert f"{100 * record.held_out.coverage:.2f} %" in card
    share_alike = ("kyoto-wikipedia", "jaquad", "wikipedia-by-sa", "livedoor")
    assert not [text.name for text in record.texts if any(name in text.name for name in share_alike)]


def test_the_weights_are_those_of_the_card(mini: Path) -> None:
    card = (mini / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256((mini / "model.q4.safetensors").read_bytes()).hexdigest() in card


def test_the_cards_table_is_the_records(mini: Path) -> None:
    record = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert table(record["rows"]) in (mini / "README.md").read_text(encoding="utf-8")
    assert not record["git"]["dirty"]
    assert {row["fingerprint"] for row in record["rows"] if row["encoder"] == EMBEDDED_NAME} == {
        resolve_encoder(EMBEDDED_NAME).fingerprint
    }
