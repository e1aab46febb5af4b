"""The table of distillation trials in the documentation is made of the committed records."""

import re
from pathlib import Path

from tanzaku.pretraining.record import read_distill_record

_ROOT = Path(__file__).parents[3]


def test_the_table_of_trials_is_the_records() -> None:
    records = {
        path.parent.name: read_distill_record(path.parent) for path in _ROOT.glob("records/distillation/*/*.json")
    }
    rows = []
    for name, record in sorted(records.items(), key=lambda item: -(item[1].history[-1].held_out_cosine or 0)):
        assert record.git_dirty is False
        options = record.options
        losses = (
            f"{options['hidden_loss']} | {options['pooled_loss']} | {', '.join(map(str, record.started_from or ()))}"
        )
        rows.append(f"| {name} | {losses} | {record.history[-1].held_out_cosine:.4f} |")
    page = (_ROOT / "docs" / "distillation.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in page if re.search(r"\| 0\.\d{4} \|$", line)] == rows
    assert len(rows) > 3
