"""The manifest: what it names, and what it finds. A bundle here is any folder of files of the right kinds."""

import hashlib
import json
from pathlib import Path

import pytest

from tanzaku.errors import BundleError
from tanzaku.ship.manifest import MANIFEST_FILE, check_manifest, is_litter, write_manifest

FILES = {"bundle.json": b"{}", "model/a.safetensors": b"\x00\x01", "model/vocab.txt": "空".encode(), "one.spm": b"s"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    write_manifest(tmp_path)
    return tmp_path


def _content(folder: Path) -> dict[str, object]:
    found = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _sums(folder: Path) -> dict[str, str]:
    sums = _content(folder)["files"]
    assert isinstance(sums, dict)
    return sums


def test_it_names_every_file_with_its_sum_but_itself(folder: Path) -> None:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert _content(folder) == {"format": "tanzaku-bundle-1", "files": sums}
    assert list(sums) == sorted(sums)
    check_manifest(folder)
    write_manifest(folder)
    assert _content(folder)["files"] == sums


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini"])
def test_what_file_managers_leave_does_not_count(folder: Path, name: str) -> None:
    (folder / "model" / name).write_bytes(b"litter")
    check_manifest(folder)
    write_manifest(folder)
    assert name not in str(_content(folder))
    assert is_litter(folder / "model" / name)
    assert not is_litter(folder / "bundle.json")


@pytest.mark.parametrize("name", ["README.md", ".gitattributes", ".git/config", ".cache/huggingface/README.md.lock"])
def test_the_card_and_what_git_and_the_hub_add_can_change(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("one", encoding="utf-8")
    check_manifest(folder)
    write_manifest(folder)
    assert set(_sums(folder)) == set(FILES)
    (folder / name).write_text("another", encoding="utf-8")
    check_manifest(folder)
    (folder / "model" / "README.md").write_text("not at the top", encoding="utf-8")
    with pytest.raises(BundleError, match=r"holds model/README\.md, which its manifest does not name"):
        check_manifest(folder)


@pytest.mark.parametrize("name", ["model.pkl", "model/code.py", "json", "weights.bin"])
def test_a_file_that_no_bundle_holds_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(
        BundleError,
        match=rf"^{name} can't go into a bundle, which holds .json, .safetensors, .txt, .model, .spm, .onnx, .xml ",
    ):
        write_manifest(folder)
    (folder / name).unlink()
    check_manifest(folder)


def test_damage_is_named(folder: Path) -> None:
    sums = _content(folder)["files"]
    assert isinstance(sums, dict)
    (folder / "model" / "vocab.txt").write_bytes("海".encode())
    found, expected = hashlib.sha256("海".encode()).hexdigest()[:12], sums["model/vocab.txt"][:12]
    with pytest.raises(
        BundleError,
        match=rf"^the bundle .* is damaged: the SHA-256 of model/vocab.txt is {found}…, and its manifest says "
        rf"{expected}…; copy or pack it",
    ):
        check_manifest(folder)


def test_the_first_missing_file_is_named_before_an_extra_one(folder: Path) -> None:
    for name in ("one.spm", "model/a.safetensors"):
        (folder / name).rename(folder / f"other-{Path(name).name}")
    with pytest.raises(BundleError, match=r"is incomplete: model/a\.safetensors is missing; copy or pack it"):
        check_manifest(folder)


def test_an_extra_file_is_named_also_a_link_that_leads_nowhere(folder: Path) -> None:
    (folder / "z.txt").symlink_to(folder / "nowhere")
    with pytest.raises(BundleError, match=r"holds z\.txt, which its manifest does not name; remove that file, or pack"):
        check_manifest(folder)
    (folder / "model" / "extra.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match=r"holds model/extra\.json, which"):
        check_manifest(folder)


def test_a_named_file_of_another_kind_is_refused(folder: Path) -> None:
    content = _content(folder)
    files = content["files"]
    assert isinstance(files, dict)
    (folder / "model.pkl").write_bytes(b"pickle")
    files["model.pkl"] = hashlib.sha256(b"pickle").hexdigest()
    (folder / MANIFEST_FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BundleError, match=r"holds model\.pkl, and no bundle holds such a file; pack it"):
        check_manifest(folder)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", r"manifest\.json can't be read \(.+\); copy or pack the bundle"),
        (
            "[]",
            "is not a bundle: .*manifest.json is of another kind; give a folder that `tanzaku fit` or `tanzaku pack` "
            "wrote",
        ),
        ('{"format": "other-1"}', "is not a bundle: .*manifest.json is of another kind"),
        ('{"format": "tanzaku-bundle-2", "files": {}}', "has the format 'tanzaku-bundle-2'; this Tanzaku reads tanz"),
        (
            '{"format": "tanzaku-bundle-12", "files": {}}',
            "has the format 'tanzaku-bundle-12'; this Tanzaku reads tanza",
        ),
        ('{"format": "tanzaku-bundle-1"}', "manifest.json names no files; copy or pack"),
        ('{"format": "tanzaku-bundle-1", "files": []}', "manifest.json names no files; copy or pack"),
    ],
)
def test_a_manifest_that_is_none_says_so(folder: Path, content: str, complaint: str) -> None:
    (folder / MANIFEST_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(BundleError, match=complaint):
        check_manifest(folder)


def test_a_folder_without_one_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"is not a bundle: manifest\.json is missing; give a folder that `tanzaku fit` or"
    ):
        check_manifest(tmp_path)


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("bundle.json", r"is incomplete: manifest\.json is missing; copy or pack it again"),
        ("study.json", "it is of a study: pack the classifier with `tanzaku pack .* --out my-bundle`"),
        ("record.json", "pack the classifier with"),
        ("fit.json", "it is the study of a `tanzaku fit`: give the folder of its classifier, such as its --out"),
    ],
)
def test_a_folder_without_one_says_what_it_seems_to_be(tmp_path: Path, file: str, remedy: str) -> None:
    (tmp_path / file).touch()
    with pytest.raises(BundleError, match=remedy):
        check_manifest(tmp_path)


def test_what_is_no_folder_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, what in (("file", "is a file, and a bundle is a folder"), ("none", "there is no such folder")):
        with pytest.raises(BundleError) as caught:
            check_manifest(tmp_path / name)
        assert (
            str(caught.value) == f"{tmp_path / name}: {what}; give a folder that `tanzaku fit` or `tanzaku pack` wrote"
        )
