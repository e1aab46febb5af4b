"""Every export that exists of some bundles, with its certificate: `records/benchmarks/certificates.json`.

    python -m benchmarks.certificates BUNDLE=DATA [BUNDLE=DATA ...]

exports each bundle to every form and precision that exists, and collects the certificates: the texts with equal token
ids, the largest difference of a logit, the labels that changed, and accuracy and speed before and after, in one thread
on validation texts of the prepared data. What does not exist is listed with the reason. It needs the extras `onnx` and
`openvino`, and a machine with no other work, since speeds are compared too.
"""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.record import CERTIFICATES, origin
from tanzaku.data.dataset import Dataset
from tanzaku.data.loading import load_dataset
from tanzaku.data.split import pick
from tanzaku.errors import BundleError
from tanzaku.exports.exporting import DtypeChoice, export
from tanzaku.files import write_json_atomically
from tanzaku.machine import describe_machine
from tanzaku.provenance import now, versions
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.certificate import Form

_DTYPES: dict[Form, tuple[DtypeChoice, ...]] = {
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
_SAID_ONCE = {"version", "tanzaku", "made", "processor", "versions", "texts_from", "texts_sha256"}  # by the record


def certificates_of(bundle: Path, dataset: Dataset, folder: Path) -> Iterator[dict[str, Any]]:
    """One entry for each form and data type: its certificate, or why it does not exist.

    Args:
        bundle: Of any method.
        dataset: With the bundle's labels; all of its validation texts are compared.
        folder: Empty.
    """
    for form in get_args(Form):
        if form == "bundle":
            continue
        for dtype in _DTYPES.get(form, ("float32",)):
            entry: dict[str, Any] = {"form": form, "dtype": dtype}
            try:
                found = export(bundle, folder / f"{form}-{dtype}", to=form, dtype=dtype, dataset=dataset)
            except BundleError as error:
                yield entry | {"reason": str(error)}
                continue
            if found.form == form:
                yield entry | {"certificate": found.certificate.model_dump(mode="json", exclude=_SAID_ONCE)}
            else:
                yield entry | {"reason": " ".join(found.notes)}


def few(dataset: Dataset, count: int) -> Dataset:
    """With so many validation documents at most, evenly spaced."""
    rows = np.unique(np.linspace(0, len(dataset.val) - 1, min(count, len(dataset.val))).astype(int))
    return replace(dataset, val=pick(dataset.val, rows.tolist()))


def rows(record: Mapping[str, Any]) -> list[str]:
    """The table of the documentation: a line for each export that exists."""
    lines = [
        "| data | method | export | texts | equal token ids | largest difference of a logit | other labels "
        "| accuracy before, after (%) | MB before, after | documents per second before, after |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in record["measured"]:
        for entry in one["exports"]:
            if "certificate" in entry:
                lines.append(_row(one, entry["certificate"]))
    return lines


def missing(record: Mapping[str, Any]) -> list[str]:
    """Which exports do not exist, and why, as a list."""
    return [
        f"- {one['data']}, {one['method']}, {entry['form']} in {entry['dtype']}: {entry['reason']}"
        for one in record["measured"]
        for entry in one["exports"]
        if "reason" in entry
    ]


def _row(one: Mapping[str, Any], certificate: Mapping[str, Any]) -> str:
    before, after = certificate["before"], certificate["after"]
    ids, texts = certificate["token_ids_equal"], certificate["texts"]
    cells = [
        one["data"],
        one["method"],
        f"{certificate['form']}, {certificate['dtype']}",
        f"{texts:,}",
        "–" if ids is None else f"{ids:,}",
        f"{certificate['largest_logit_difference']:.1e}",
        str(certificate["flips"]),
        f"{100 * before['accuracy']:.2f}, {100 * after['accuracy']:.2f}",
        f"{before['size_bytes'] / 1e6:.2f}, {after['size_bytes'] / 1e6:.2f}",
        f"{before['documents_per_second']:.1f}, {after['documents_per_second']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Export everything, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certificates", description=__doc__.split("\n")[0])
    parser.add_argument("pairs", nargs="+", metavar="BUNDLE=DATA", help="a bundle, and prepared data with its labels")
    parser.add_argument("--texts", type=int, default=200, help="the most validation texts of each (200)")
    parser.add_argument("--out", type=Path, default=CERTIFICATES, help="write the record here")
    options = parser.parse_args(given)
    started, measured, shown = now(), [], []
    for pair in options.pairs:
        bundle, _, data = pair.partition("=")
        dataset = few(load_dataset(data), options.texts)
        with tempfile.TemporaryDirectory(prefix="tanzaku-") as name:
            exports = list(certificates_of(Path(bundle), dataset, Path(name)))
        measured.append({"data": dataset.name, "method": open_bundle(bundle).facts.method["name"], "exports": exports})
        shown.append(f"{Path(bundle).name}={Path(data).name}")  # a record says nothing of the machine's paths
    command = shlex.join(["python", "-m", "benchmarks.certificates", *shown, "--texts", str(options.texts)])
    record = {"machine": asdict(describe_machine()), **origin(command, started=started), "measured": measured}
    record["versions"] |= versions(("onnxruntime", "openvino"))
    write_json_atomically(options.out, record)
    print(json.dumps(record, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
