"""Files that Ray Data classifies: as one process does, and resumed where an interruption left them."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.data.options import ReadOptions
from tanzaku.errors import DataError
from tanzaku.ship.bulk import BulkOptions, classify_file
from tanzaku.ship.classifier import Classifier
from tests.bundles import make_bundle
from tests.tiny import make_documents

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("ray"),  # so that Ray is started once
    pytest.mark.usefixtures("ray_cluster"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # Ray Data sets options that it deprecates
]

_ROWS = 46
_READING = ReadOptions(text_column="body")
_TEXTS = ["" if row in (2, 22) else text for row, text in enumerate(make_documents(_ROWS, seed=5).texts)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A classifier that needs no PyTorch, which takes a worker long to import."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle", tiny_encoder, "tfidf-svm", {})


@pytest.fixture(scope="module")
def cached_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the Hub's client keeps it: relative links to files whose names are their checksums."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "blobs").mkdir()
    snapshot = cache / "snapshots" / "0123abcd"
    for number, file in enumerate(path for path in bundle.rglob("*") if path.is_file()):
        shutil.copyfile(file, cache / "blobs" / str(number))
        link = snapshot / file.relative_to(bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(os.path.relpath(cache / "blobs" / str(number), link.parent)))
    return snapshot


@pytest.mark.parametrize(("place", "ending", "workers"), [("bundle", ".parquet", 2), ("cached_bundle", ".jsonl", 1)])
def test_a_file_gets_the_labels_that_one_process_gives_it(
    tmp_path: Path, request: pytest.FixtureRequest, place: str, ending: str, workers: int
) -> None:
    bundle: Path = request.getfixturevalue(place)
    classifier = Classifier.load(bundle)
    minimum = round(sorted(one.probability for one in classifier(_TEXTS))[_ROWS // 2], 2)
    expected = classifier(_TEXTS, min_probability=minimum, otherwise="?")
    options = BulkOptions(shard_rows=10, min_probability=minimum, otherwise="?", workers=workers)
    source, out = tmp_path / f"texts{ending}", tmp_path / "labels"
    if ending == ".parquet":
        pq.write_table(pa.table({"body": _TEXTS}), source, row_group_size=17)
    else:
        source.write_text("\n\n".join(json.dumps({"body": text}) for text in _TEXTS), encoding="utf-8")
    heard: list[tuple[int, int]] = []

    def listen(done: int, total: int) -> None:
        heard.append((done, total))

    tally = classify_file(bundle, source, out, reading=_READING, options=options, listener=listen)
    assert (tally.texts, tally.answered) == (_ROWS, sum(one.suggestion is None for one in expected))
    assert (tally.empty.count, tally.empty.first) == (2, [3, 23])
    assert (heard[0], heard[-1], len(heard)) == ((0, _ROWS), (_ROWS, _ROWS), 6)
    parts = sorted(out.glob("part-*"))
    assert [part.name for part in parts] == [f"part-{first:012}{ending}" for first in (1, 11, 21, 31, 41)]
    rows = [row for part in parts for row in _rows(part)]
    assert [row["number"] for row in rows] == list(range(1, _ROWS + 1))
    assert [(row["label"], row["suggestion"]) for row in rows] == [(one.label, one.suggestion) for one in expected]
    assert len({row["label"] == "?" for row in rows}) == 2, "all texts are answered, or none"
    for row, one in zip(rows, expected, strict=True):
        assert (row["score"], row["probability"]) == pytest.approx((one.score, one.probability))
    if ending == ".jsonl":
        return
    assert pd.read_parquet(out)["number"].tolist() == list(range(1, _ROWS + 1))
    kept, (_, missing, *_) = {part: part.read_bytes() for part in parts}, parts
    missing.unlink()
    times = {part: part.stat().st_mtime_ns for part in parts if part != missing}
    heard.clear()
    assert classify_file(bundle, source, out, reading=_READING, options=options, listener=listen) == tally
    assert heard == [(_ROWS - 10, _ROWS), (_ROWS, _ROWS)]
    assert {part: part.stat().st_mtime_ns for part in parts if part != missing} == times, "made a second time"
    assert {part: part.read_bytes() for part in parts} == kept
    given = f"--column body --shard-rows 10 --min-probability {100 * minimum:.0f}% --otherwise ?".split()
    done = CliRunner().invoke(app, ["classify", str(bundle), str(source), "--engine=ray", f"--out={out}", *given])
    assert "2 texts are empty (number 3, 23)" in done.stderr
    assert f"{tally.answered} of {_ROWS} texts are answered" in done.stderr
    assert f"{_ROWS} rows have labels in {out}" in done.stderr


def _rows(part: Path) -> list[dict[str, object]]:
    if part.suffix == ".parquet":
        return pq.read_table(part).to_pylist()  # type: ignore[no-any-return]
    return [json.loads(line) for line in part.read_text(encoding="utf-8").splitlines()]


def test_what_a_worker_can_not_read_ends_the_command_with_its_message(tmp_path: Path, bundle: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text('{"text": "空"}\n{"text": "海"}\n{"text": 7}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 3: the text is 7"):
        classify_file(bundle, source, tmp_path / "labels", options=BulkOptions(shard_rows=2, workers=1))


def test_labels_of_other_settings_are_not_mixed(tmp_path: Path, bundle: Path) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "labels"
    source.touch()  # without a row, so without a need for Ray
    assert classify_file(bundle, source, out).texts == 0
    with pytest.raises(DataError, match=r"made with another min_probability \(None, now 0.5\)"):
        classify_file(bundle, source, out, options=BulkOptions(min_probability=0.5))
    source.write_text('{"text": "海海海"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="made with another file_bytes"):
        classify_file(bundle, source, out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(DataError, match=r"thesis\.txt"):
        classify_file(bundle, source, tmp_path / "other")
