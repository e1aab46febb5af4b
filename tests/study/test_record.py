"""Records and predictions survive the disk, and damage is said."""

import json
from pathlib import Path

import pytest

from tanzaku.errors import RecordError
from tanzaku.study.record import Environment, FailedRun, read_record, write_record
from tanzaku.study.runs import read_records
from tanzaku.study.summary import DataFacts


def _failed(run_id: str, error: str = "out of memory") -> FailedRun:
    return FailedRun(
        run_id=run_id,
        study="s",
        error=error,
        started="2025-01-01T00:00:00+00:00",
        ended="2025-01-01T00:00:01+00:00",
        spec={"kind": "encoder", "encoder": {}, "method": {"name": "full"}, "training": {}},
        data=DataFacts(
            name="d",
            fingerprint="f",
            label_names=("空", "海"),
            train_documents=1,
            val_documents=1,
            test_documents=1,
            train_documents_per_class=(1, 0),
        ),
        environment=Environment(
            versions={},
            platform="p",
            cpu="c",
            cores=1,
            threads=1,
            memory_bytes=1,
            gpu=None,
            git_commit=None,
            git_dirty=None,
        ),
    )


def test_round_trip(tmp_path: Path) -> None:
    record = _failed("one", error='漢字、\n改行, "引用"')
    write_record(record, tmp_path / "one")
    assert read_record(tmp_path / "one") == record
    assert record.method == "full"


def test_no_flipped_bit_of_a_record_gives_another_one(tmp_path: Path) -> None:
    record = _failed("one", error="漢字と 0.25")
    write_record(record, tmp_path)
    path = tmp_path / "record.json"
    whole = path.read_bytes()
    complaints = []
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert read_record(tmp_path) == record, place  # only a blank between two entries is another one
        except RecordError as error:
            complaints.append(str(error))
    assert len(complaints) > 0.7 * len(whole)
    assert all(str(path) in complaint for complaint in complaints)


def test_all_below_a_folder_are_read(tmp_path: Path) -> None:
    for name in ("b", "a", "deep/c"):
        write_record(_failed(Path(name).name), tmp_path / name)
    assert [record.run_id for record in read_records(tmp_path)] == ["a", "b", "c"]


def test_no_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"there is no record\.json below"):
        read_records(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', '{"version": 2}', '{"version": 2, "run_id": 3}'])
def test_a_damaged_record_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_text(content, encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.json"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        ("spec", {}, "spec has no method.name"),
        ("spec", {"kind": "encoder", "method": {"name": "full"}, "encoder": "x"}, "spec.encoder"),
        ("spec", {"method": {"name": "full"}}, "spec.kind is neither encoder nor text"),
        ("status", "finished", r"val: Field required \(and 7 more\)"),
        ("status", "waiting", "status is finished or failed, and spec.kind encoder or text"),
        ("data", {"name": "d"}, r"data\.fingerprint: Field required \(and 5 more\)"),
    ],
)
def test_a_record_that_contradicts_itself_is_an_error_of_one_line(
    tmp_path: Path, place: str, value: object, complaint: str
) -> None:
    write_record(_failed("one"), tmp_path)
    content = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    del content["sha256"]  # as earlier versions wrote it
    (tmp_path / "record.json").write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    assert read_record(tmp_path) == _failed("one")  # a byte order mark is no damage
    (tmp_path / "record.json").write_text(json.dumps(content | {place: value}), encoding="utf-8")
    with pytest.raises(RecordError, match=rf"record\.json is not a run record: .*{complaint}") as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)
