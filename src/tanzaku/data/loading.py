"""The one way to read prepared data: a folder that `tanzaku data` wrote, or the embedded sample corpus."""

from dataclasses import replace
from pathlib import Path

from tanzaku.data.characters import clean_dataset
from tanzaku.data.dataset import SAMPLE, Dataset, Documents, absolute_source
from tanzaku.data.embedded import prepare_sample
from tanzaku.data.prepared import read_prepared
from tanzaku.errors import DataError


def load_dataset(source: str | Path, *, test: bool = True) -> Dataset:
    """Read the splits that a study works on, their texts as `tanzaku.data.characters` says.

    Args:
        source: A folder that `tanzaku data livedoor`, `import` or `sample` wrote, or `"sample"` for the corpus that
            comes with Tanzaku (a folder of that name is written `./sample`).
        test: Without it, the test split of a folder is not even opened, and is empty in the result: for a search,
            which must not see it. The fingerprint is then another one.

    Raises:
        DataError: There is no prepared data there, or its files are not the ones that its manifest vouches for.
    """
    if not isinstance(source, str | Path):
        raise DataError(
            f"prepared data is a folder, not an object of the type {type(source).__name__}; read documents with "
            "tanzaku.import_documents"
        )
    if source != SAMPLE:
        return replace(clean_dataset(read_prepared(Path(source), test=test)), source=absolute_source(str(source)))
    sample = replace(prepare_sample().dataset, source=SAMPLE)
    return sample if test else replace(sample, test=Documents((), ()))
