"""What docker/runtime/Dockerfile says, without Docker."""

import json
from pathlib import Path

DOCKERFILE = Path(__file__).parents[1] / "docker" / "runtime" / "Dockerfile"


def read_steps() -> list[str]:
    """Its instructions, each in one line."""
    lines = DOCKERFILE.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return text.replace("\\\n", "").splitlines()


def command_of(instruction: str, *, stage: str) -> list[str]:
    """The program and arguments of ENTRYPOINT, CMD or HEALTHCHECK in a stage."""
    steps = read_steps()
    start = next(number for number, step in enumerate(steps) if step.startswith("FROM") and step.endswith(f" {stage}"))
    for step in steps[start + 1 :]:
        if step.startswith("FROM"):
            break
        if step.startswith(instruction):
            found: list[str] = json.loads(step[step.index("[") :])
            return found
    raise LookupError(f"the stage {stage} has no {instruction}")
