"""What the tests of the data room share: a small corpus in Livedoor's layout, and the real one where it is at hand."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tanzaku.data.livedoor import PUBLISHED_ARTICLES

MakeCorpus = Callable[..., Path]


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Writes a corpus of the nine categories with `articles` articles each below `<name>/text`."""

    def make(name: str = "corpus", *, articles: int = 10) -> Path:
        for kind, category in enumerate(PUBLISHED_ARTICLES):
            folder = tmp_path / name / "text" / category
            folder.mkdir(parents=True)
            (folder / "LICENSE.txt").write_text("licence\n", encoding="utf-8")
            for number in range(articles):
                lines = f"http://portal.example/{number}/\n2024-01-01T00:00:00+0900\n{category}の題{number}\n第{kind}類の本文\u3000{number}\tです。\n"
                (folder / f"{category}-{number:07d}.txt").write_text(lines, encoding="utf-8")
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def real_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real Livedoor corpus, unpacked; skips where it is not at hand."""
    archive = real_archive_or_skip()
    folder = tmp_path_factory.mktemp("livedoor")
    with tarfile.open(archive) as members:
        members.extractall(folder, filter="data")
    return folder


def real_archive_or_skip() -> Path:
    """The real corpus's archive: beside the checkout, or in the folder that TANZAKU_SHARED names."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    archive = Path(os.environ.get("TANZAKU_SHARED", beside)) / "data" / "livedoor-news-corpus.tar.gz"
    if not archive.exists():
        pytest.skip(f"the Livedoor corpus is not at hand ({archive}); set TANZAKU_SHARED to the folder that has it")
    return archive
