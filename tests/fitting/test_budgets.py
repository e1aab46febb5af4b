"""What bundles cost, remembered in a file."""

import json
from pathlib import Path
from typing import Any

from tanzaku.fitting.budgets import Budgets, Costs, CostsFile


def test_a_bundle_that_is_packed_again_is_weighed_again_and_not_timed(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    measured: dict[str, Any] = {"milliseconds": 1.0, "documents_per_second": 9.0, "memory_bytes": 5}
    path.write_text(json.dumps({"run/text": {**measured, "total_bytes": 10_000, "dictionary_bytes": 0}}))
    again = CostsFile(path).measure("run/text", tmp_path / "nowhere", ["海"], own_bytes=12_000, dictionary_bytes=50)
    assert again == Costs(**measured, total_bytes=12_050, dictionary_bytes=50)
    assert CostsFile(path).get("run/text") == again


def test_a_shared_dictionary_is_not_counted_of_what_was_measured_before(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    measured: dict[str, Any] = {"milliseconds": 1.0, "documents_per_second": 9.0, "memory_bytes": 5}
    path.write_text(json.dumps({"run/text": {**measured, "total_bytes": 53_000_000, "dictionary_bytes": 52_900_000}}))
    whole, without = CostsFile(path).get("run/text"), CostsFile(path, shared_dictionary=True).get("run/text")
    assert whole is not None
    assert without is not None
    assert (whole.total_bytes, without.total_bytes, without.dictionary_bytes) == (53_000_000, 100_000, 0)
    assert [Budgets(megabytes=1.0).exceeded(costs) for costs in (whole, without)] == ["megabytes", None]
