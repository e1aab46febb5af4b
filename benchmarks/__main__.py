"""Runs the benchmark: the record goes to its file and to standard output, progress to standard error."""

import argparse
import json
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale import scale_named
from benchmarks.suite import GROUPS


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parse(given)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    from benchmarks.profiling import profiles_of
    from benchmarks.record import RECORDS, begin_progress, make_record
    from benchmarks.rows import rows_of, skipped_rows
    from benchmarks.suite import measurements, run_rounds
    from tanzaku.encoders.quiet import quiet_transformers
    from tanzaku.files import write_json_atomically

    scale = scale_named(options.scale)
    rounds = options.rounds or scale.rounds
    # The folder's name alone: a record says nothing of the machine's paths.
    texts = "the sample corpus" if options.texts is None else options.texts.resolve().name
    groups = options.only or GROUPS
    chosen = measurements(scale, texts=options.texts, groups=groups)
    progress = begin_progress(scale=scale, texts=texts, groups=groups, resume=options.resume)
    with quiet_transformers():
        numbers = run_rounds(chosen, rounds=rounds, progress=progress, report=_say)
    record = make_record(
        rows_of(chosen, numbers, scale=scale),
        profiles=profiles_of(chosen, scale, report=_say),
        skipped=skipped_rows() if options.only is None or "memory" in options.only else [],
        scale=scale,
        rounds=rounds,
        texts=texts,
        command=shlex.join(["python", "-m", "benchmarks", *given]),
        parts=progress.parts,
    )
    out = options.out
    if out is None and options.only is None and scale.name == "full":
        out = RECORDS / ("gpu.json" if record["machine"]["gpu"] else "cpu.json")
    if out is not None:
        write_json_atomically(out, record)
    progress.done()
    print(json.dumps(record, ensure_ascii=False, indent=2))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Times Tanzaku beside the thesis's scripts and plain transformers. The whole of it writes "
        "records/benchmarks/cpu.json (or gpu.json); a part of it only prints, unless --out is given.",
    )
    parser.add_argument("--only", action="append", choices=GROUPS, help="measure this group alone; may be repeated")
    parser.add_argument("--rounds", type=_positive, help="measure everything so often (3)")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--quick", dest="scale", action="store_const", const="quick", help="real encoders, one round, few documents"
    )
    scale.add_argument(
        "--tiny", dest="scale", action="store_const", const="tiny", help="a toy encoder; shows that everything works"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where the last run on this machine, of this kind, was interrupted"
    )
    parser.add_argument("--texts", type=Path, help="tokenize the texts of this folder, prepared by `tanzaku data`")
    parser.add_argument("--out", type=Path, help="write the record here")
    parser.set_defaults(scale="full")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        _say("interrupted; --resume continues (with make: make bench RESUME=yes)")
        sys.exit(130)
