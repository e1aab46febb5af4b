"""The runtime without PyTorch in a new environment: how large it is, and how long it takes until the first label.

    python -m benchmarks.runtime EXTRA=EXPORT [EXTRA=EXPORT ...]

builds the wheel, installs it with each extra (`runtime`; `runtime-mecab` for tokenizers with MeCab) into a new
environment, and classifies a sentence with an exported bundle three times, each in a new process. It writes
records/benchmarks/runtime.json: the bytes of all files in site-packages that pip has put there (without pip itself, and
setuptools where a new environment has it), also by package; those without compiled modules; those that
docker/runtime/Dockerfile leaves; the seconds of each process, and the seconds that the processor worked for it, which
other programs hardly change. It needs the package index, or pip's cache of it.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.record import RUNTIME, origin
from tanzaku.files import write_json_atomically
from tanzaku.machine import describe_machine
from tanzaku.provenance import now

ROOT = Path(__file__).parents[1]
TEXT = "終電の車内で、新しいスマートフォンのカメラを試した。"
# What a new environment has before anything is installed into it.
_OF_THE_ENVIRONMENT = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
_FORBIDDEN = ("torch", "transformers", "sklearn", "scipy", "pyarrow")
_LISTED = 12


def measure_runtime(export: Path, extra: str, folder: Path) -> dict[str, object]:
    """Install into `folder`, and measure.

    Args:
        export: What `tanzaku export --to onnx` wrote.
        extra: Of pyproject.toml.
        folder: Empty.
    """
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist")],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    programs = folder / "venv" / "bin"
    install = [programs / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", f"{wheel}[{extra}]"]
    subprocess.run([str(word) for word in install], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    present = [name for name in _FORBIDDEN if (packages / name).exists()]
    if present:
        raise RuntimeError(f"the runtime has {', '.join(present)}")
    sizes = {path: path.stat().st_size for path in packages.rglob("*") if path.is_file()}
    ours = {
        path: size
        for path, size in sizes.items()
        if not path.relative_to(packages).parts[0].startswith(_OF_THE_ENVIRONMENT)
    }
    by_package: Counter[str] = Counter()
    for path, size in ours.items():
        by_package[path.relative_to(packages).parts[0].partition("-")[0]] += size
    seconds, worked, label = _first_label(programs / "tanzaku", export, folder)
    return {
        "extra": extra,
        "bytes": sum(ours.values()),
        "bytes_without_compiled_modules": sum(size for path, size in ours.items() if path.suffix != ".pyc"),
        "bytes_in_the_image": sum(size for path, size in ours.items() if _is_in_image(path.relative_to(packages))),
        "bytes_by_package": dict(by_package.most_common(_LISTED)),
        "seconds_to_first_label": seconds,
        "processor_seconds_to_first_label": worked,
        "label": label,
    }


def _first_label(tanzaku: Path, export: Path, folder: Path) -> tuple[list[float], list[float], str]:
    """Seconds and processor seconds from the start of the program to its first label, three times; and the label."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    seconds, worked, label = [], [], ""
    for _ in range(3):
        start, before = time.perf_counter(), _worked()
        done = subprocess.run(
            [str(tanzaku), "classify", str(export), TEXT, "--format", "jsonl"],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        seconds.append(round(time.perf_counter() - start, 3))
        worked.append(round(_worked() - before, 3))
        label = json.loads(done.stdout)["label"]
    return seconds, worked, label


def _worked() -> float:
    """The seconds for which the processor worked for processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _is_in_image(path: Path) -> bool:
    """Whether the Dockerfile keeps a file of the installed packages."""
    of_numpy_tests = path.parts[0] == "numpy" and "tests" in path.parts
    of_the_hub = path.parts[0].startswith("hf_xet")
    return not (path.suffix == ".pyc" or of_the_hub or of_numpy_tests or path.name.startswith("libonnxruntime.so."))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=__doc__.split("\n")[0])
    parser.add_argument("pairs", nargs="+", metavar="EXTRA=EXPORT", help="an extra, and what `export --to onnx` wrote")
    parser.add_argument("--out", type=Path, default=RUNTIME, help="write the record here")
    options = parser.parse_args(given)
    started, measured, shown = now(), [], []
    for pair in options.pairs:
        extra, _, export = pair.partition("=")
        with tempfile.TemporaryDirectory() as name:
            measured.append(measure_runtime(Path(export).resolve(), extra, Path(name)))
        shown.append(f"{extra}={Path(export).name}")  # a record says nothing of the machine's paths
    command = shlex.join(["python", "-m", "benchmarks.runtime", *shown])
    record = {"machine": asdict(describe_machine()), **origin(command, started=started), "measured": measured}
    write_json_atomically(options.out, record)
    print(json.dumps(record, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
