import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.loading import load_dataset
from tanzaku.data.prepared import Preparation, read_prepared, write_prepared
from tanzaku.errors import DataError, TanzakuWarning
from tanzaku.files import write_atomically

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
AWKWARD = (
    'a "quoted", text',
    "two\nlines",
    "return\r",
    "\r\n",
    "🎋👩‍👧",
    "\ufeffbom",
    "NA",
    "\0",
    "a\u2028b",
    ",",
    '"',
)


def preparation(texts: tuple[str, ...]) -> Preparation:
    documents = Documents(texts, tuple("ab"[row % 2] for row in range(len(texts))))
    names = tuple(sorted(set(documents.labels)))
    return Preparation(Dataset("d", documents, documents, documents, names), source={"file": "x"}, options={"seed": 1})


def test_awkward_texts_come_back_as_they_were(tmp_path: Path) -> None:
    write_prepared(preparation(AWKWARD), tmp_path)
    assert read_prepared(tmp_path) == preparation(AWKWARD).dataset
    with (tmp_path / "train.csv").open(encoding="utf-8", newline="") as handle:
        assert [row["text"] for row in csv.DictReader(handle)] == list(AWKWARD)


def test_groups_are_a_column_of_their_own_and_without_them_nothing_changes(tmp_path: Path) -> None:
    plain = preparation(("x", "y", "z"))
    manifest = write_prepared(plain, tmp_path / "plain")
    assert "groups" not in manifest
    assert (tmp_path / "plain" / "train.csv").read_text(encoding="utf-8").startswith('"text","label"\n"x","a"\n')
    documents = replace(plain.dataset.train, groups=("客,一", None, "0"))
    grouped = replace(plain, dataset=replace(plain.dataset, train=documents, test=documents))
    manifest = write_prepared(grouped, tmp_path / "grouped")
    assert manifest["groups"] == {"train": 2, "test": 2}
    assert manifest["fingerprint"] != plain.dataset.fingerprint
    assert read_prepared(tmp_path / "grouped") == grouped.dataset
    assert read_prepared(tmp_path / "plain").train.groups is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5).map(tuple))
def test_any_text_comes_back_as_it_was(tmp_path: Path, texts: tuple[str, ...]) -> None:
    write_prepared(preparation(texts), tmp_path, force=True)
    assert read_prepared(tmp_path) == preparation(texts).dataset


def test_own_texts_are_read_without_what_is_no_text_and_livedoors_as_they_are(tmp_path: Path) -> None:
    given = preparation(("a\0b", "c\u200b"))
    write_prepared(given, tmp_path / "own")
    with pytest.warns(TanzakuWarning, match="d: 6 of 6 texts hold control or invisible characters"):
        assert load_dataset(tmp_path / "own") == preparation(("a b", "c")).dataset
    published = replace(given.dataset, published=True)
    write_prepared(replace(given, dataset=published, options={"text": "thesis"}), tmp_path / "livedoor")
    assert load_dataset(tmp_path / "livedoor") == published


def test_data_says_where_it_lies_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prepared(preparation(("x", "y")), tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert load_dataset("data").source == load_dataset(Path("./data")).source == str(tmp_path / "data")


def test_the_manifest_vouches_for_counts_and_files(tmp_path: Path) -> None:
    manifest = write_prepared(preparation(("x", "y", "z")), tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == manifest
    assert manifest["counts"] == {"a": {"train": 2, "val": 2, "test": 2}, "b": {"train": 1, "val": 1, "test": 1}}
    assert manifest["files"]["val.csv"]["rows"] == 3
    assert manifest["fingerprint"] == preparation(("x", "y", "z")).dataset.fingerprint


def test_the_same_data_is_written_again_without_complaint_other_data_only_by_force(tmp_path: Path) -> None:
    write_prepared(preparation(("x", "y")), tmp_path)
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    write_prepared(preparation(("x", "y")), tmp_path)
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before  # nothing was touched
    with pytest.raises(DataError, match=r"holds other data already \(train\.csv, .*manifest\.json\).*--force"):
        write_prepared(preparation(("x", "changed")), tmp_path)
    assert load_dataset(tmp_path).train.texts == ("x", "y")
    write_prepared(preparation(("x", "changed")), tmp_path, force=True)
    assert load_dataset(tmp_path).train.texts == ("x", "changed")


def test_files_that_were_not_prepared_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,text,label,note\n1,x,y,mine\n", encoding="utf-8")
    for force in (False, True):
        with pytest.raises(
            DataError, match=r"holds other files already \(train\.csv\), which `tanzaku data` does not seem to"
        ):
            write_prepared(preparation(("x", "y")), tmp_path, force=force)
    assert "mine" in (tmp_path / "train.csv").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_a_replacement_that_was_killed_is_no_data_and_can_be_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_prepared(preparation(("x", "y")), tmp_path)

    def fail(path: Path, content: str | bytes) -> None:
        if path.name == "val.csv":
            raise OSError("no space left")
        write_atomically(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("tanzaku.data.prepared.write_atomically", fail)
        with pytest.raises(OSError, match="no space"):
            write_prepared(preparation(("x", "changed")), tmp_path, force=True)
    with pytest.raises(DataError, match=r"replacing its data was interrupted\. Prepare the data again"):
        load_dataset(tmp_path)
    write_prepared(preparation(("x", "changed")), tmp_path, force=True)
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")  # damaged: said to be prepared again
    write_prepared(preparation(("x", "changed")), tmp_path, force=True)
    assert load_dataset(tmp_path).train.texts == ("x", "changed")


def test_what_a_killed_writer_left_is_completed(tmp_path: Path) -> None:
    write_prepared(preparation(("x", "y")), tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "test.csv").unlink()
    with pytest.raises(DataError, match="not prepared data"):
        load_dataset(tmp_path)
    write_prepared(preparation(("x", "y")), tmp_path)
    assert load_dataset(tmp_path).test.texts == ("x", "y")


def test_an_edited_or_missing_file_is_refused(tmp_path: Path) -> None:
    write_prepared(preparation(("x", "y")), tmp_path)
    path = tmp_path / "val.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(DataError, match=r"val\.csv: is not the file that manifest\.json vouches for"):
        load_dataset(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"val\.csv: is missing"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is not the manifest of prepared data"),
        ('{"format": "other"}', "is not the manifest of prepared data"),
        ('{"format": "tanzaku-data", "version": 99}', "has version 99; this Tanzaku reads version 1"),
        ('{"format": "tanzaku-data", "version": 1}', r"train\.csv: is not the file"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(tmp_path: Path, content: str, message: str) -> None:
    write_prepared(preparation(("x", "y")), tmp_path)
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)


def test_a_manifest_of_other_labels_is_refused(tmp_path: Path) -> None:
    manifest = write_prepared(preparation(("x", "y")), tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"label_names": ["b", "a"]}), encoding="utf-8")
    with pytest.raises(DataError, match="does not fit the data next to it"):
        load_dataset(tmp_path)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="is a file"):
        write_prepared(preparation(("x", "y")), tmp_path / "out")


def test_without_the_test_split_its_file_is_not_even_opened(tmp_path: Path) -> None:
    write_prepared(preparation(("x", "y")), tmp_path)
    whole = load_dataset(tmp_path)
    for content in (b"poison", None):
        (tmp_path / "test.csv").unlink()
        if content:
            (tmp_path / "test.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"test\.csv"):
            load_dataset(tmp_path)
        part = load_dataset(tmp_path, test=False)
        assert (part.train, part.val, part.test) == (whole.train, whole.val, Documents((), ()))
        assert part.fingerprint != whole.fingerprint
    (tmp_path / "val.csv").unlink()
    with pytest.raises(DataError, match=r"val\.csv: is missing"):
        load_dataset(tmp_path, test=False)


def test_what_is_not_a_folder_is_no_prepared_data() -> None:
    with pytest.raises(
        DataError, match=r"not an object of the type list; read documents with tanzaku\.import_documents"
    ):
        load_dataset([("a", "b")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("livedoor", "tanzaku data livedoor --out"),
        ("livedoor-unsigned", "tanzaku data livedoor --text unsigned --out"),
        ("livedoor-unsigned-split", "tanzaku data livedoor --text unsigned --split-duplicates --out"),
        ("inquiries", "tanzaku data import`"),
    ],
)
def test_a_missing_folder_is_an_error_with_the_command_that_prepares_it(
    tmp_path: Path, name: str, command: str
) -> None:
    with pytest.raises(DataError, match="there is no such folder") as raised:
        read_prepared(tmp_path / name)
    assert command in str(raised.value)
    assert (f"{tmp_path / name}`" in str(raised.value)) == name.startswith("livedoor")
