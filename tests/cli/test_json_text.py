"""JSON on standard output, whatever its encoding."""

import io
import json
import sys

import pytest

from tanzaku.cli.json_text import json_text

CONTENT = {"label": "café☕海"}


@pytest.mark.parametrize(("encoding", "plain"), [("utf-8", True), ("UTF8", True), ("cp932", False), ("euc-jp", False)])
def test_it_can_be_parsed_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str, plain: bool) -> None:
    stream = io.TextIOWrapper(buffer := io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    stream.write(json_text(CONTENT))
    stream.flush()
    monkeypatch.undo()
    text = buffer.getvalue().decode(encoding)
    assert json.loads(text) == CONTENT
    assert ("海" in text) == plain
