"""The Livedoor News Corpus: the published archive, its nine categories, and the thesis's split of it."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from tanzaku.data.archive import extract_archive
from tanzaku.data.cleaning import clean_thesis, clean_unsigned
from tanzaku.data.dataset import Documents
from tanzaku.data.download import Progress, cache_folder, download
from tanzaku.data.prepared import Preparation
from tanzaku.data.raw import listed
from tanzaku.data.split import THESIS_RATIOS, THESIS_SEED, Ratios, split_documents
from tanzaku.errors import DataError, TanzakuWarning
from tanzaku.files import sha256_of_file

URL = "https://www.rondhuit.com/download/ldcc-20140209.tar.gz"
SHA256 = "b17606ed8c670013a3809100a9e6104701baab62cc019abc262111bd2acf1063"

PUBLISHED_ARTICLES = {
    "sports-watch": 900,
    "it-life-hack": 870,
    "movie-enter": 870,
    "peachy": 842,
    "topic-news": 770,
    "smax": 870,
    "kaden-channel": 864,
    "livedoor-homme": 511,
    "dokujo-tsushin": 870,
}
"""The published archive's articles of each category, in the order of the thesis's Table 3.1."""

THESIS_NOTE = (
    "The thesis's Table 3.1 counts 512 articles (257 for test) for livedoor-homme: one more than the corpus has."
)

TextCleaning = Literal["thesis", "unsigned"]
# By the cleaning, and whether articles with the same body are kept together.
_NAMES: dict[tuple[TextCleaning, bool], str] = {
    ("thesis", False): "livedoor",
    ("thesis", True): "livedoor-together",
    ("unsigned", True): "livedoor-unsigned",
    ("unsigned", False): "livedoor-unsigned-split",
}
_CLEANINGS: dict[str, Callable[[list[str]], str]] = {"thesis": clean_thesis, "unsigned": clean_unsigned}


def cleaning_named(name: str) -> TextCleaning:
    """The cleaning of that name.

    Raises:
        DataError: There is none.
    """
    for cleaning in get_args(TextCleaning):
        if name == cleaning:
            return cast(TextCleaning, cleaning)
    raise DataError(f"there is no cleaning {name!r} of the texts. Choose from: {', '.join(get_args(TextCleaning))}.")


@dataclass(frozen=True)
class Article:
    """One file of a corpus in Livedoor's layout."""

    category: str
    file_name: str
    lines: list[str]
    """The lines from the title on (the third of the file), each with its line break."""


def prepare_livedoor(
    folder: Path,
    *,
    text: TextCleaning = "thesis",
    keep_duplicates_together: bool | None = None,
    source: dict[str, Any] | None = None,
) -> Preparation:
    """Clean and split the corpus that stands unpacked in `folder`.

    Args:
        folder: Has the nine category folders, or a folder `text` that has them.
        text: `thesis` for the thesis's texts; `unsigned` for texts without the sites' names and signatures.
        keep_duplicates_together: Keep articles with the same body on one side of the split; where False, every article
            stands where the thesis has it. None keeps those of unsigned texts together, and not the thesis's.
        source: What the manifest says about where the corpus came from.

    Raises:
        DataError: A category is missing, or an article can't be read or has no text.
    """
    together = text == "unsigned" if keep_duplicates_together is None else keep_duplicates_together
    articles = read_articles(_text_folder(folder), categories=sorted(PUBLISHED_ARTICLES))
    _warn_of_other_counts(articles)
    return prepare_articles(
        articles,
        name=_NAMES[text, together],
        text=text,
        ratios=THESIS_RATIOS,
        keep_duplicates_together=together,
        source=source or {"folder": folder.name},
    )


@contextmanager
def unpacked(
    archive: Path | None, *, cache: Path | None = None, on_progress: Progress | None = None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder with the corpus, and what the manifest says about its source.

    Args:
        archive: An archive (`.tar.gz`, `.tgz`, `.tar`), or a folder with the corpus unpacked; None downloads the
            published archive, once.
        cache: Where the download is kept; None for `tanzaku.data.download.cache_folder()`.
        on_progress: Told how far the download is.

    Raises:
        DataError: The archive is not there, can't be downloaded or can't be unpacked.
    """
    if archive is None:
        archive = download(URL, to=(cache or cache_folder()) / Path(URL).name, sha256=SHA256, on_progress=on_progress)
    if not archive.exists():
        raise DataError(f"{archive}: there is no such file or folder. Leave --archive out to download the corpus.")
    if archive.is_dir():
        yield archive, {"folder": archive.name}
        return
    with tempfile.TemporaryDirectory(prefix="tanzaku-livedoor-") as folder:
        extract_archive(archive, Path(folder))
        yield Path(folder), {"archive": archive.name, "sha256": sha256_of_file(archive)}


def prepare_articles(
    articles: list[Article],
    *,
    name: str,
    text: TextCleaning,
    ratios: Ratios,
    keep_duplicates_together: bool,
    source: dict[str, Any],
) -> Preparation:
    """Clean and split articles, which come in category order and within a category in file-name order."""
    cleaned = [_CLEANINGS[text](article.lines) for article in articles]
    empty = [
        f"{article.category}/{article.file_name}" for article, one in zip(articles, cleaned, strict=True) if not one
    ]
    if empty:
        raise DataError(f"{len(empty):,} articles have no text: {listed(empty)}. Download the corpus again.")
    documents = Documents(tuple(cleaned), tuple(article.category for article in articles))
    groups = (
        [_body(article, one, text) for article, one in zip(articles, cleaned, strict=True)]
        if keep_duplicates_together
        else None
    )
    return Preparation(
        dataset=replace(
            split_documents(documents, name=name, ratios=ratios, seed=THESIS_SEED, groups=groups), published=True
        ),
        source=source,
        options={
            "text": text,
            "train_size": ratios.train,
            "val_size": ratios.val,
            "seed": THESIS_SEED,
            "keep_duplicates_together": keep_duplicates_together,
        },
    )


def read_articles(folder: Path, *, categories: list[str]) -> list[Article]:
    """Read `<category>/<category>-<number>.txt`, categories in the order given, files in name order.

    Raises:
        DataError: A file is not UTF-8, or has no third line.
    """
    articles: list[Article] = []
    unread: list[str] = []
    for category in categories:
        for path in sorted((folder / category).iterdir()):
            if path.name.startswith(f"{category}-") and path.suffix == ".txt":
                articles.append(_read_article(path, category))
            elif path.name != "LICENSE.txt":
                unread.append(f"{category}/{path.name}")
    if unread:
        one = "1 file is not an article and was"
        files = one if len(unread) == 1 else f"{len(unread):,} files are not articles and were"
        warnings.warn(f"{files} not read: {listed(unread)}.", TanzakuWarning, stacklevel=2)
    return articles


def _read_article(path: Path, category: str) -> Article:
    place = f"{category}/{path.name}"
    try:
        with path.open(encoding="utf-8") as handle:  # as A.1 opens it: any line break is read as \n
            lines = handle.readlines()
    except UnicodeDecodeError as error:
        fault = f"the byte at offset {error.start} is not UTF-8"
        raise DataError(f"{place}: {fault}. Download the corpus again.") from error
    if len(lines) < 3:
        fault = f"has {len(lines)} lines; address, date and title are needed"
        raise DataError(f"{place}: {fault}. Download the corpus again.")
    return Article(category, path.name, lines[2:])


def _body(article: Article, whole: str, text: TextCleaning) -> str:
    """The cleaned text without the title, or with it where nothing else is left."""
    return whole.removeprefix(_CLEANINGS[text](article.lines[:1])).strip() or whole


def _text_folder(folder: Path) -> Path:
    for candidate in (folder / "text", folder):
        present = {path.name for path in candidate.iterdir() if path.is_dir()} if candidate.is_dir() else set()
        missing = [category for category in PUBLISHED_ARTICLES if category not in present]
        if len(missing) == len(PUBLISHED_ARTICLES):
            continue
        if missing:
            raise DataError(f"{candidate}: has no folder for {', '.join(missing)}. Download the corpus again.")
        if unknown := sorted(name for name in present - set(PUBLISHED_ARTICLES) if not name.startswith((".", "__"))):
            warnings.warn(
                f"folders that are not a Livedoor category were not read: {listed(unknown)}.",
                TanzakuWarning,
                stacklevel=3,
            )
        return candidate
    raise DataError(
        f"{folder}: has no Livedoor category folders ({', '.join(PUBLISHED_ARTICLES)}), nor a folder `text` with them. "
        "Give the archive, or the folder it unpacks to; other data goes through `tanzaku data import`."
    )


def _warn_of_other_counts(articles: list[Article]) -> None:
    counts = dict.fromkeys(PUBLISHED_ARTICLES, 0)
    for article in articles:
        counts[article.category] += 1
    other = [
        f"{name} {counts[name]:,} instead of {usual:,}"
        for name, usual in PUBLISHED_ARTICLES.items()
        if counts[name] != usual
    ]
    if other:
        warnings.warn(
            f"this is not the published corpus; it has other numbers of articles: {'; '.join(other)}. "
            "Results can't be compared with the thesis's.",
            TanzakuWarning,
            stacklevel=3,
        )
