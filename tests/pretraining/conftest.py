"""A small Japanese corpus: the articles that the package ships, in one file with a blank line between them."""

from pathlib import Path

import pytest

import tanzaku.data


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """378 articles, some 80,000 characters."""
    folder = Path(tanzaku.data.__file__).parent / "sample" / "text"
    articles = [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("*/*-*.txt"))]
    assert len(articles) > 300
    path = tmp_path_factory.mktemp("corpus") / "articles.txt"
    path.write_text("\n\n".join(articles) + "\n", encoding="utf-8")
    return path
