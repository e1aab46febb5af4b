"""The sample corpus that comes with Tanzaku: written for it, in Livedoor's layout, small enough to try things out."""

from importlib.resources import as_file, files

from tanzaku.data.dataset import SAMPLE
from tanzaku.data.livedoor import prepare_articles, read_articles
from tanzaku.data.prepared import Preparation
from tanzaku.data.split import Ratios

# More of it for training than the thesis takes: there are only some forty articles a category.
SAMPLE_RATIOS = Ratios(train=0.60, val=0.15)


def prepare_sample() -> Preparation:
    """Clean the sample corpus as the thesis cleans Livedoor's, and split it 60/15/25 in each category."""
    with as_file(files("tanzaku.data") / "sample" / "text") as folder:
        categories = sorted(path.name for path in folder.iterdir() if path.is_dir())
        articles = read_articles(folder, categories=categories)
    return prepare_articles(
        articles,
        name=SAMPLE,
        text="thesis",
        ratios=SAMPLE_RATIOS,
        keep_duplicates_together=False,
        source={"embedded": SAMPLE},
    )
