import re
import tarfile
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tanzaku.data import livedoor
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.livedoor import PUBLISHED_ARTICLES, cleaning_named, prepare_livedoor, unpacked
from tanzaku.errors import DataError, TanzakuWarning
from tanzaku.files import sha256_of_file

MakeCorpus = Callable[..., Path]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        return


OTHER_COUNTS = r"not the published corpus.*sports-watch 10 instead of 900"


def test_every_form_of_the_corpus_gives_the_same_data(tmp_path: Path, make_corpus: MakeCorpus) -> None:
    corpus = make_corpus()
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(corpus / "text", "text")
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.add(corpus / "text", "text")
    fingerprints = set()
    for form in (corpus, corpus / "text", tmp_path / "c.tar.gz", tmp_path / "c.tar"):
        with unpacked(form) as (folder, source), pytest.warns(TanzakuWarning, match=OTHER_COUNTS):
            preparation = prepare_livedoor(folder, source=source)
        assert form.name in preparation.source.values()
        fingerprints.add(preparation.dataset.fingerprint)
    assert len(fingerprints) == 1
    assert preparation.dataset.published
    assert preparation.dataset.label_names == tuple(sorted(PUBLISHED_ARTICLES))
    assert preparation.dataset.train.texts[0].startswith("dokujo-tsushinの題")


@pytest.mark.filterwarnings("ignore:this is not the published corpus")
def test_without_an_archive_the_published_one_is_downloaded_once(
    tmp_path: Path, make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served").mkdir()
    archive = tmp_path / "served" / "ldcc.tar.gz"
    with tarfile.open(archive, "w:gz") as members:
        members.add(make_corpus() / "text", "text")
    monkeypatch.setattr(livedoor, "SHA256", sha256_of_file(archive))
    seen: list[int] = []
    handler = partial(QuietHandler, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(livedoor, "URL", f"http://127.0.0.1:{server.server_port}/ldcc.tar.gz")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        with unpacked(None, cache=tmp_path / "cache", on_progress=lambda done, _: seen.append(done)) as (
            folder,
            source,
        ):
            first = prepare_livedoor(folder, source=source)
        server.shutdown()
    assert seen[-1] == archive.stat().st_size
    with unpacked(None, cache=tmp_path / "cache") as (folder, source):  # the server is gone
        assert prepare_livedoor(folder, source=source) == first
    assert first.source == {"archive": "ldcc.tar.gz", "sha256": sha256_of_file(archive)}


def test_unsigned_keeps_identical_bodies_on_one_side(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(articles=20)
    for path in sorted((corpus / "text" / "peachy").glob("peachy-*.txt"))[:8]:
        address, date, title, _ = path.read_text(encoding="utf-8").splitlines()
        path.write_text(f"{address}\n{date}\n{title}\n同じ本文\n", encoding="utf-8")
    together, apart, usual = (
        _prepared(corpus, **options)
        for options in ({"text": "unsigned"}, {"text": "unsigned", "keep_duplicates_together": False}, {})
    )
    holding = [
        split for split in (together.train, together.val, together.test) if any("同じ本文" in t for t in split.texts)
    ]
    assert len(holding) == 1
    assert sum("同じ本文" in text for text in holding[0].texts) == 8
    for split, thesiss in ((apart.train, usual.train), (apart.val, usual.val), (apart.test, usual.test)):
        assert _numbers(split) == _numbers(thesiss)
    assert _numbers(together.train) != _numbers(usual.train)


def _prepared(corpus: Path, **options: Any) -> Dataset:
    with pytest.warns(TanzakuWarning):  # it has fewer articles than the published archive
        return prepare_livedoor(corpus, **options).dataset


def _numbers(documents: Documents) -> list[tuple[str, list[str]]]:
    return [(label, re.findall(r"\d+", text)) for text, label in zip(documents.texts, documents.labels, strict=True)]


def test_a_missing_category_or_another_folder_is_refused(tmp_path: Path, make_corpus: MakeCorpus) -> None:
    corpus = make_corpus()
    (corpus / "text" / "smax").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="has no folder for smax"):
        prepare_livedoor(corpus)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no Livedoor category folders .*tanzaku data import"):
        prepare_livedoor(tmp_path / "empty")


def test_what_is_no_article_is_told(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus()
    (corpus / "text" / "smax" / "notes.txt").write_text("x", encoding="utf-8")
    (corpus / "text" / "extra").mkdir()
    with pytest.warns(TanzakuWarning) as caught:
        prepare_livedoor(corpus)
    told = " ".join(str(one.message) for one in caught)
    assert "1 file is not an article and was not read: smax/notes.txt" in told
    assert "not a Livedoor category were not read: extra" in told


@pytest.mark.filterwarnings("ignore:this is not the published corpus")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"http://x/\n2024\n", r"smax/smax-0000000\.txt: has 2 lines"),
        (b"http://x/\n2024\n \xe3\x80\x80\n", r"1 articles have no text: smax/smax-0000000\.txt"),
        (b"http://x/\n2024\n\x93\xfa\n", r"smax/smax-0000000\.txt: the byte at offset 15 is not UTF-8"),
    ],
)
def test_a_broken_article_is_named(make_corpus: MakeCorpus, content: bytes, message: str) -> None:
    corpus = make_corpus()
    (corpus / "text" / "smax" / "smax-0000000.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepare_livedoor(corpus)


def test_an_unknown_cleaning_or_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no cleaning 'raw'.*thesis, unsigned"):
        cleaning_named("raw")
    with pytest.raises(DataError, match="no such file or folder"), unpacked(tmp_path / "nowhere.tar.gz"):
        pass
