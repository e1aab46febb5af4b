"""What bundles and encoders cost: which documents they are timed with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tanzaku.fitting import measuring
from tanzaku.fitting.measuring import Measured, measure_bundle, measure_encoder


def test_a_file_that_is_sorted_by_class_is_timed_with_documents_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an encoder, by which runs are planned, too."""
    asked: list[Sequence[str]] = []

    def in_process(request: dict[str, Any]) -> Measured:
        asked.append(request["texts"])
        return Measured(1.0, 1.0, 1)

    monkeypatch.setattr(measuring, "_in_process", in_process)
    texts = [f"short {row}" for row in range(1000)] + [f"long {row}" for row in range(1000)]
    measure_bundle(Path("bundle"), texts)
    measure_encoder({}, texts, labels=2)
    measure_bundle(Path("bundle"), texts[:30])
    assert [len(set(one)) for one in asked] == [200, 200, 30]
    assert asked[0] == asked[1]
    for some in (asked[0], asked[0][:30]):  # of which there may be no time for more
        assert 0.3 < sum(text.startswith("long") for text in some) / len(some) < 0.7
