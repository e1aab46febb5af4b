"""`tanzaku methods`: counts, the table for pipes, and what does not fit."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AlbertConfig, AlbertModel
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.methods import METHODS


def _run(*arguments: str) -> Any:
    finished = CliRunner().invoke(app, ["methods", *arguments])
    assert finished.exit_code == 0, finished.output
    return finished


def _methods(*arguments: str) -> dict[str, dict[str, Any]]:
    content = json.loads(_run(*arguments, "--json").stdout)
    return {method["name"]: method for method in content["methods"]}


def test_counts_for_bert_base_are_the_closed_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tanzaku.encoders.source.has_embedded", lambda: False)
    found = _methods()
    assert list(found) == list(METHODS)
    layers, hidden, inner, head = 12, 768, 3072, 769 * 9
    norms = (2 * layers + 1) * 2 * hidden
    assert found["lora"]["trainable_parameters"] == layers * 2 * 2 * hidden * 8 + head
    assert found["ia3"]["trainable_parameters"] == layers * (2 * hidden + inner) + head
    assert found["ln-tuning"]["trainable_parameters"] == norms + head
    assert found["houlsby"]["trainable_parameters"] == layers * 2 * (2 * 64 * hidden + hidden + 64) + norms + head
    assert found["full"]["trainable_parameters"] == 110_624_265  # as the thesis's table has it
    assert found["full"]["share"] == 1
    assert found["lora"]["bytes"] == 4 * found["lora"]["trainable_parameters"]
    assert {name for name, method in found.items() if method["mergeable"] is False} >= {"houlsby", "pfeiffer"}
    assert found["tfidf-svm"]["trainable_parameters"] is None
    assert all(re.search(r"\b(19|20)\d\d\b", method["paper"]) for method in found.values())


def test_of_an_encoder_the_head_is_what_its_checkpoint_lacks(tiny_encoder: Path, tiny_masked_encoder: Path) -> None:
    hidden, labels = 32, 4
    classifier, pooler = (hidden + 1) * labels, (hidden + 1) * hidden
    with_pooler = _methods(str(tiny_encoder), "--labels", str(labels))
    without = _methods(str(tiny_masked_encoder), "--labels", str(labels))
    assert with_pooler["head"]["trainable_parameters"] == classifier
    assert without["head"]["trainable_parameters"] == classifier + pooler
    said = _run(str(tiny_masked_encoder), "--labels", str(labels)).stderr
    assert f"the methods train {pooler:,} parameters fewer" in said  # as a study's records have it
    assert "fewer" not in _run(str(tiny_encoder)).stderr


def test_lines_for_pipes_are_tab_separated_and_alone_on_standard_output(tiny_encoder: Path) -> None:
    finished = _run(str(tiny_encoder))
    lines = [line.split("\t") for line in finished.stdout.splitlines()]
    assert lines[0] == ["method", "trained", "share (%)", "MB", "mergeable", "paper"]
    assert [line[0] for line in lines[1:]] == list(METHODS)
    assert {len(line) for line in lines} == {6}
    assert "parameters with a head for 9 labels (classifier)" in finished.stderr


@pytest.mark.filterwarnings("ignore:.*tokenizer.*")
def test_a_method_that_does_not_fit_the_encoder_says_why(tmp_path: Path) -> None:
    config = AlbertConfig(vocab_size=30, embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=32)
    AlbertModel(config).save_pretrained(tmp_path)
    found = _methods(str(tmp_path))
    assert found["ia3"]["trainable_parameters"] is None
    assert found["ia3"]["error"].startswith("ia3: this encoder's layers have no key layer")
    assert found["bitfit"]["trainable_parameters"] > 0
    assert "ia3: this encoder's layers" in _run(str(tmp_path)).stderr
