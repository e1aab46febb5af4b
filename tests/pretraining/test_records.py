"""The table of pretraining trials is made of the records beside it."""

import re
from pathlib import Path

from tanzaku.pretraining.record import read_pretrain_record

RECORDS = Path(__file__).parents[2] / "records" / "pretraining"


def test_the_table_of_trials_is_the_records() -> None:
    rows = []
    for folder in sorted(path.parent for path in RECORDS.glob("*/record.json")):
        record = read_pretrain_record(folder)
        assert record.git_dirty is False
        last = record.history[-1]
        rows.append(
            f"| {folder.name} | {record.tokens_seen / 1e6:.1f} | {record.seconds / 60:.1f} "
            f"| {last.held_out_loss:.2f} | {100 * last.held_out_accuracy:.1f} |"
        )
    lines = (RECORDS / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"\| \d+x", line)] == rows
    assert rows
