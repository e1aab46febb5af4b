"""The comparison of ids finds none that differ, and would find one that did."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from benchmarks import same_ids
from tanzaku.encoders import segmenter, tokens
from tests.checkpoints import sentences


def test_all_texts_are_compared_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*sentences()[:50], "", "ｶﾀｶﾅと[MASK]😀"]
    text, out = tmp_path / "text.txt.xz", tmp_path / "same.json"
    text.write_bytes(lzma.compress("\n".join(lines).encode()))
    with pytest.raises(SystemExit) as ended:
        same_ids.main([str(text), "--out", str(out)])
    assert ended.value.code == 0
    record = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == record
    (row,) = record["rows"]
    assert (row["name"], row["texts"], row["different"]) == ("text.txt.xz", 51, 0)
    assert row["characters"] == sum(map(len, lines))
    assert str(tmp_path) not in json.dumps(record)


def test_the_reference_segments_with_mecab_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not with what replaces it in the tokenizer, which is wrong here."""
    same_ids.compare(sentences()[:1])
    monkeypatch.setattr(segmenter.Segmenter, "__call__", lambda self, text: [])
    monkeypatch.setattr(segmenter.Segmenter, "parse", lambda self, text: "")
    assert same_ids.compare(sentences()[:10]).different == 10


def test_a_text_with_other_ids_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tokens.text_encoder

    def spoiled(tokenizer: Any, limit: int) -> object:
        def encode(texts: list[str]) -> object:
            ids, lengths = real(tokenizer, limit)(texts)
            ids[-2] += 1
            return ids, lengths

        return encode

    monkeypatch.setattr(tokens, "text_encoder", spoiled)
    found = same_ids.compare(sentences()[:10])
    assert (found.texts, found.different) == (10, 1)
