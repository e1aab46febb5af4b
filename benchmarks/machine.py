"""Does memory stay where it was, is a step faster than before, and how much slower is training on a busy machine?

    python -m benchmarks.machine --texts data/livedoor

measures these on this machine and writes records/benchmarks/machine.json; `--only` measures some of them, and
leaves the others' rows in the record as they were where it is of the same machine. Meant for a machine with nothing
else to do; some 30 minutes on two cores.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import busy, growth
from benchmarks.apart import output_of
from benchmarks.epoch import EpochLengths
from benchmarks.record import MACHINE, origin, read_alone
from benchmarks.rows import RATIO, Row
from benchmarks.scale import SCALES, Shape, scale_named
from tanzaku.files import write_json_atomically
from tanzaku.machine import describe_machine
from tanzaku.provenance import now

ROUNDS = 3
BUSY_PROCESSES = 4
OLD_COMMIT = "95fb54c"
# From the first length up to the second, which is left out: those with which the older commit was first measured.
UNEVEN = (250, 512)
# The length of all documents where both commits compile once: about the mean of UNEVEN.
EQUAL = 384
STEPS = 25
# Of `tanzaku.encoders.shapes`: (ATTENTION_STEP, BATCH_PARTS), of which the first is what this checkout has.
CHOICES = ((32, 16), (32, 8), (32, 32), (16, 16), (64, 16))
CHOICE_ROUNDS = 2
SECONDS = "seconds"
_STEP_SECONDS = "seconds a step of 8 documents"
_ROOT = Path(__file__).parents[1]
# The encoder of which the older commit's memory and speed were first measured.
_WIDE = Shape(layers=12, hidden=384, heads=6, intermediate=1536, vocabulary=16_000)
_NARROW = Shape(layers=1, hidden=32, heads=2, intermediate=64, vocabulary=100)


def growth_rows(lengths: Path, *, scale: str, rounds: int) -> list[Row]:
    """The resident memory at the end of two epochs, over that after 100 steps; once, since it does not vary much."""
    del rounds
    first, last = growth.growth(lengths, scale)
    return [
        Row.of("train_rss_growth", [last / first], unit=RATIO),
        Row.of("train_rss_100_steps", [first], unit="bytes"),
        Row.of("train_rss_two_epochs", [last], unit="bytes"),
    ]


def step_rows(lengths: Path, *, scale: str, rounds: int) -> list[Row]:
    """A step of the older commit over one of this checkout, in turn, each in a process of its own."""
    return _compared(lengths, "lora_step", scale=scale, rounds=rounds)


def uneven_rows(lengths: Path, *, scale: str, rounds: int) -> list[Row]:
    """The same with one thread and documents of every length from half the limit to the limit, equally often."""
    uneven = lengths.with_name("uneven.json")
    low, high = UNEVEN if scale == "full" else (8, 33)
    EpochLengths(train=list(range(low, high)), val=[]).write(uneven)
    return _compared(uneven, "lora_step_uneven", scale=scale, rounds=rounds, threads=1)


def equal_rows(lengths: Path, *, scale: str, rounds: int) -> list[Row]:
    """The same with one length for all: what is left to gain where no kernel has to be compiled for another length."""
    equal = lengths.with_name("equal.json")
    EpochLengths(train=[EQUAL if scale == "full" else 16], val=[]).write(equal)
    return _compared(equal, "lora_step_equal", scale=scale, rounds=rounds, threads=1)


def _compared(lengths: Path, name: str, *, scale: str, rounds: int, threads: int | None = None) -> list[Row]:
    shape, steps = (_NARROW, 2) if scale == "tiny" else (_WIDE, STEPS)
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    with _checkout(OLD_COMMIT) as old:
        for turn in range(rounds):
            sides = {"old": old, "new": _ROOT}
            for side in sides if turn % 2 == 0 else reversed(sides):
                seconds[side].append(_step_seconds(sides[side], lengths, shape, steps, threads=threads))
                _say(f"round {turn + 1} of {rounds}  {side}: {seconds[side][-1]:.3f} seconds a step")
    ratios = [old / new for old, new in zip(seconds["old"], seconds["new"], strict=True)]
    return [
        Row.of(f"{name}_vs_{OLD_COMMIT}", ratios, unit=RATIO),
        Row.of(f"{name}_{OLD_COMMIT}", seconds["old"], unit=_STEP_SECONDS),
        Row.of(name, seconds["new"], unit=_STEP_SECONDS),
    ]


def choice_rows(lengths: Path, *, scale: str, rounds: int) -> list[Row]:
    """The same step with other numbers of rows that documents and batches are rounded up to, in turn."""
    shape, steps = (_NARROW, 2) if scale == "tiny" else (_WIDE, STEPS)
    seconds: dict[tuple[int, int], list[float]] = {choice: [] for choice in CHOICES}
    for turn in range(min(rounds, CHOICE_ROUNDS)):
        for choice in CHOICES if turn % 2 == 0 else reversed(CHOICES):
            seconds[choice].append(_step_seconds(_ROOT, lengths, shape, steps, choice))
            _say(f"round {turn + 1}  {choice}: {seconds[choice][-1]:.3f} seconds a step")
    return [
        Row.of(f"lora_step_attention_{step}_parts_{parts}", numbers, unit=_STEP_SECONDS)
        for (step, parts), numbers in seconds.items()
    ]


def busy_rows(lengths: Path, *, scale: str, rounds: int) -> list[Row]:
    """The quickstart's training beside busy processes over the same alone; and alone with threads that spin."""
    del lengths
    overrides = [*busy.ARM, "encoder.max_tokens=16", "training.epochs=1"] if scale == "tiny" else busy.ARM
    alone, beside, spinning = [], [], []
    for turn in range(rounds):
        alone.append(busy.training_seconds(overrides))
        with busy.busy_processes(BUSY_PROCESSES):
            beside.append(busy.training_seconds(overrides))
        spinning.append(busy.training_seconds(overrides, environment=busy.SPINNING))
        shown = f"alone {alone[-1]:.2f} s, busy {beside[-1]:.2f} s, spinning {spinning[-1]:.2f} s"
        _say(f"round {turn + 1} of {rounds}  {shown}")
    return [
        Row.of("busy_machine_slowdown", [one / other for one, other in zip(beside, alone, strict=True)], unit=RATIO),
        Row.of("idle_machine_passive_vs_spinning", [p / s for p, s in zip(alone, spinning, strict=True)], unit=RATIO),
        Row.of("quickstart_training_alone", alone, unit=SECONDS),
        Row.of("quickstart_training_busy", beside, unit=SECONDS),
        Row.of("quickstart_training_spinning", spinning, unit=SECONDS),
    ]


GROUPS: dict[str, Callable[..., list[Row]]] = {
    "growth": growth_rows,
    "step": step_rows,
    "uneven": uneven_rows,
    "equal": equal_rows,
    "busy": busy_rows,
    "choices": choice_rows,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.machine", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=GROUPS, help="measure only this; may be repeated")
    parser.add_argument(
        "--texts", type=Path, help="take the lengths of the texts of this folder, prepared by `tanzaku data`"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"measure seconds so often ({ROUNDS})")
    parser.add_argument("--scale", choices=SCALES, default="full", help="tiny shows that everything works (full)")
    parser.add_argument("--out", type=Path, default=MACHINE, help="write the record here")
    options = parser.parse_args(given)
    # The folder's name alone: a record says nothing of the machine's paths.
    texts = "the lengths in benchmarks/lengths.py" if options.texts is None else options.texts.resolve().name
    facts = {"machine": asdict(describe_machine()), "texts": texts, "scale": options.scale}
    groups = _measured_before(options.out, facts) if options.only else {}
    with tempfile.TemporaryDirectory() as folder:
        lengths = Path(folder) / "lengths.json"
        EpochLengths.of(options.texts, max_tokens=scale_named(options.scale).max_tokens).write(lengths)
        for name in options.only or GROUPS:
            groups[name] = _measure(name, lengths, options, command=_command(given))
            record = {**facts, "groups": [groups[one] for one in GROUPS if one in groups]}
            write_json_atomically(options.out, record)  # at once: the next may take long
    print(json.dumps(record, ensure_ascii=False, indent=2))


def _command(given: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "benchmarks.machine", *given])


def _measure(name: str, lengths: Path, options: argparse.Namespace, *, command: str) -> dict[str, Any]:
    started = now()
    rows = GROUPS[name](lengths, scale=options.scale, rounds=options.rounds)
    return {"group": name, "rows": [row.to_json() for row in rows], **origin(command, started=started)}


def _measured_before(file: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The groups of a record of the same machine and the same texts."""
    found = read_alone(file)
    if found is None or any(found.get(name) != value for name, value in facts.items()):
        return {}
    return {group["group"]: group for group in found["groups"]}


@contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit, as long as this lasts."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / commit
        git = ["git", "-C", str(_ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _step_seconds(
    tree: Path, lengths: Path, shape: Shape, steps: int, choice: Sequence[int] = (), *, threads: int | None = None
) -> float:
    size = lengths.with_name("shape.json")
    size.write_text(shape.model_dump_json(), encoding="utf-8")
    # -P: not this file's own folder, but the checkout's, is where the benchmarks are imported from.
    script = Path(__file__).with_name("step_alone.py")
    command = [sys.executable, "-P", *map(str, (script, lengths, size, steps, *choice))]
    path = os.pathsep.join([str(tree / "src"), str(tree)])
    environment = os.environ | {"PYTHONPATH": path}
    if threads is not None:
        environment |= {"OMP_NUM_THREADS": str(threads)}
    return float(output_of(command, folder=tree, environment=environment))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
