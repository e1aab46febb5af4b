"""Whether Tanzaku's way through `BertJapaneseTokenizer` gives its ids, over whole collections of text.

    python -m benchmarks.same_ids data/livedoor text/

compares every text of folders that `tanzaku data` prepared, and every line of text files (also .xz, .gz), both without
a limit on the tokens, and writes records/benchmarks/same_ids.json. It ends with 1 where any differ.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.record import SAME_IDS, origin
from benchmarks.tokenizing import japanese_tokenizer
from tanzaku.data.prepared import MANIFEST, read_prepared
from tanzaku.encoders import tokens
from tanzaku.files import write_json_atomically
from tanzaku.pretraining.sources import find_sources, read_lines
from tanzaku.provenance import now

_TEXTS_A_TASK = 2_000
_NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class Compared:
    """Over some texts: how many, their characters, the reference's tokens, and the texts whose ids differ."""

    texts: int
    characters: int
    tokens: int
    different: int

    def __add__(self, other: "Compared") -> "Compared":
        return Compared(*(one + more for one, more in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def compare(texts: Sequence[str]) -> Compared:
    """Both ways through a tokenizer whose vocabulary was learned from the sample corpus."""
    tokenizer = japanese_tokenizer()
    ids, lengths = tokens.text_encoder(tokenizer, _NO_LIMIT)(list(texts))
    ours = np.split(ids, np.cumsum(lengths)[:-1])
    theirs = deepcopy(tokenizer)(list(texts), verbose=False)["input_ids"]  # a copy has MeCab again, and not ours
    return Compared(
        texts=len(texts),
        characters=sum(map(len, texts)),
        tokens=sum(map(len, theirs)),
        different=sum(one.tolist() != other for one, other in zip(ours, theirs, strict=True)),
    )


def collections(paths: Sequence[Path]) -> Iterator[tuple[str, Iterator[str]]]:
    """Name and texts of each prepared folder and each text file."""
    for path in paths:
        if (path / MANIFEST).is_file():
            dataset = read_prepared(path)
            yield path.name, iter([*dataset.train.texts, *dataset.val.texts, *dataset.test.texts])
        else:
            for source in find_sources([path]):
                yield source.path.name, (text for line in read_lines(source) if (text := line.strip()))


def _tasks(texts: Iterator[str]) -> Iterator[list[str]]:
    while task := list(islice(texts, _TEXTS_A_TASK)):
        yield task


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_ids", description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="prepared folders, text files, folders of text files")
    parser.add_argument("--out", type=Path, default=SAME_IDS, help="write the record here")
    options = parser.parse_args(given)
    started, rows = now(), []
    with ProcessPoolExecutor() as pool:
        for name, texts in collections(options.paths):
            found = sum(pool.map(compare, _tasks(texts)), start=Compared(0, 0, 0, 0))
            rows.append({"name": name, **asdict(found)})
            print(f"{name}: {found.different} of {found.texts:,} differ", file=sys.stderr, flush=True)
    # Only the names: a record contains no paths of the machine.
    command = shlex.join(["python", "-m", "benchmarks.same_ids", *(Path(one).name for one in given)])
    record = {
        **origin(command, started=started),
        "rows": rows,
    }
    write_json_atomically(options.out, record)
    print(json.dumps(record, ensure_ascii=False, indent=2))
    sys.exit(any(row["different"] for row in rows))


if __name__ == "__main__":
    main()
