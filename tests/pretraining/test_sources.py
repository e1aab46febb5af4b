import gzip
import lzma
from pathlib import Path

import pytest

from tanzaku.errors import DataError
from tanzaku.pretraining.sources import find_sources, read_chunks, read_lines

TEXT = "空は青い。\n雲が行く。\n\n海は広い。\n"


def _lines(path: Path, *, every_line: bool = False) -> list[str]:
    (source,) = find_sources([path])
    return [line for chunk in read_chunks(source, every_line=every_line) for line in chunk]


def test_plain_xz_and_gz_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(TEXT.encode()))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "notes.md").write_text("not meant", encoding="utf-8")
    sources = find_sources([tmp_path])
    assert [source.path.name for source in sources] == ["a.txt", "b.txt.xz", "c.txt.gz"]
    assert all(list(read_lines(source)) == list(read_lines(sources[0])) for source in sources)


def test_endings_are_read_in_any_case_and_hidden_copies_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "A.TXT").write_text(TEXT, encoding="utf-8")
    (tmp_path / "b.txt.XZ").write_bytes(lzma.compress(TEXT.encode()))
    for hidden in ("._A.txt", ".ipynb_checkpoints/A-checkpoint.txt"):  # of macOS and Jupyter
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"\x00\x05\x16\x07\xff")
    sources = find_sources([tmp_path])
    assert [source.path.name for source in sources] == ["A.TXT", "b.txt.XZ"]
    assert list(read_lines(sources[0])) == list(read_lines(sources[1]))


def test_documents_end_at_blank_lines_or_at_every_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\ufeff\n" + TEXT.replace("\n", "\r\n") + "\n\n", encoding="utf-8")
    assert _lines(path) == ["空は青い。", "雲が行く。", "", "海は広い。", ""]
    assert _lines(path, every_line=True) == ["空は青い。", "", "雲が行く。", "", "海は広い。", ""]


def test_what_is_no_text_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("山\0と\u200b海\n\ufeff\x07\n空\n", encoding="utf-8")
    (source,) = find_sources([path])
    assert list(read_lines(source)) == ["山 と海\n", " \n", "空\n"]
    assert list(read_chunks(source, every_line=False)) == [["山 と海", "", "空", ""]]


def test_a_document_ends_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("空は青い。", encoding="utf-8")
    assert _lines(path) == ["空は青い。", ""]


def test_a_long_document_is_cut_into_chunks_but_not_into_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(("あ" * 1000 + "\n") * 450, encoding="utf-8")
    chunks = list(read_chunks(find_sources([path])[0], every_line=False))
    assert [chunk.count("") for chunk in chunks] == [0, 0, 1]


def test_progress_counts_the_files_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    path.write_bytes(lzma.compress(TEXT.encode()))
    counted: list[int] = []
    list(read_lines(find_sources([path])[0], progress=counted.append))
    assert sum(counted) == path.stat().st_size


def test_a_file_named_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TEXT, encoding="utf-8")
    assert len(find_sources([path, tmp_path, tmp_path / "." / "a.txt"])) == 1


def test_links_are_followed_and_their_names_say_how_to_read(tmp_path: Path) -> None:
    (blobs := tmp_path / "blobs").mkdir()
    (blobs / "ab12").write_bytes(gzip.compress(TEXT.encode()))
    (blobs / "plain.txt").write_text(TEXT, encoding="utf-8")
    (texts := tmp_path / "texts").mkdir()
    (texts / "corpus.txt.gz").symlink_to(blobs / "ab12")
    (texts / "linked").symlink_to(blobs, target_is_directory=True)
    (texts / "back").symlink_to(texts, target_is_directory=True)
    (texts / "real").mkdir()
    (texts / "real" / "b.txt").write_text("海\n", encoding="utf-8")
    (texts / "again").symlink_to(texts / "real", target_is_directory=True)
    sources = find_sources([texts])
    names = [source.path.relative_to(texts).as_posix() for source in sources]
    assert names == ["corpus.txt.gz", "linked/plain.txt", "real/b.txt"]
    assert [list(read_lines(source)) for source in sources] == [*[TEXT.splitlines(keepends=True)] * 2, ["海\n"]]
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "bare").symlink_to(tmp_path / "c.txt.gz")
    (tmp_path / "corpus.gz").symlink_to(blobs / "ab12")
    (tmp_path / "d.txt").symlink_to(tmp_path / "c.txt.gz")
    for name in ("bare", "corpus.gz", "d.txt"):
        (source,) = find_sources([tmp_path / name])
        assert list(read_lines(source)) == TEXT.splitlines(keepends=True), name


def test_what_is_made_is_no_text(tmp_path: Path) -> None:
    for name in ("a.txt", "encoder/b.txt", "encoder.work/vocabularies/1/c.txt", "another-encoder/vocab.txt"):
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT, encoding="utf-8")
    for name in ("LICENSE.txt", "merges.txt", "parts/notes.txt"):
        (path := tmp_path / "roberta" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT, encoding="utf-8")
    (tmp_path / "roberta" / "config.json").write_text('{"model_type": "roberta"}', encoding="utf-8")
    besides = [tmp_path / "encoder", tmp_path / "encoder.work"]
    assert [source.path for source in find_sources([tmp_path], besides=besides)] == [tmp_path / "a.txt"]
    given = tmp_path / "another-encoder" / "vocab.txt"  # a file that is named is read
    assert [source.path for source in find_sources([given])] == [given]


@pytest.mark.parametrize("config", ['{"title": "news"}', '["model_type"]', "model_type", None])
def test_a_folder_with_another_configuration_is_read(tmp_path: Path, config: str | None) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    if config is None:
        (tmp_path / "config.json").mkdir()
    else:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    assert [source.path.name for source in find_sources([tmp_path])] == ["a.txt"]


def test_which_byte_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("空\n".encode() + "海".encode() + b"\x83\x41\n")
    with pytest.raises(
        DataError, match=r"a\.txt, line 2: byte 7 of the file, 0x83, is not valid UTF-8.* iconv -f cp932 "
    ):
        list(read_lines(find_sources([path])[0]))


@pytest.mark.parametrize("encoding", ["utf-16", "iso-2022-jp"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    """The bytes of ISO-2022-JP are valid UTF-8."""
    (path := tmp_path / "a.txt").write_bytes("今日は天気がよい。\n".encode(encoding))
    with pytest.raises(DataError, match=rf"a\.txt, line 1: .*iconv -f {encoding} -t utf-8"):
        list(read_lines(find_sources([path])[0]))


@pytest.mark.parametrize("suffix", ["xz", "gz"])
def test_a_cut_off_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    content = TEXT.encode() * 100
    packed = lzma.compress(content) if suffix == "xz" else gzip.compress(content)
    path = tmp_path / f"a.txt.{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        list(read_lines(find_sources([path])[0]))


def test_missing_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt: there is no such file or folder"):
        find_sources([tmp_path / "nowhere.txt"])
    with pytest.raises(DataError, match="lies in or below"):
        find_sources([tmp_path])
