"""What was found in somebody's documents: problems that must be solved, warnings, and notes on what was done."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tanzaku.errors import DataError, TanzakuWarning


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found in a source, in all its rows.

    Attributes:
        kind: A stable name, such as `"empty-text"`, for programs and tests.
        message: What it is, how many rows have it, where the first ones are, and the remedy, in one line.
        severity: An error makes the source unusable. A warning should be looked at. A note says what was done.
        source: The name of the file, folder or split; empty if there is only one and it has no name.
    """

    kind: str
    message: str
    severity: Literal["error", "warning", "note"] = "error"
    source: str = ""

    def __str__(self) -> str:
        return f"{self.source}: {self.message}" if self.source else self.message


class ProblemsError(DataError):
    """All problems of one or several sources at once; `findings` has them one by one."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(_in_words(self.findings))


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether there is an error among the findings."""
    return any(finding.severity == "error" for finding in findings)


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise all errors among the findings as one.

    Raises:
        ProblemsError: There are some.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise ProblemsError(errors)


def warn_of(findings: Iterable[Finding]) -> None:
    """Warn of each warning among the findings."""
    for finding in findings:
        if finding.severity == "warning":
            warnings.warn(str(finding), TanzakuWarning, stacklevel=2)


def report(findings: Iterable[Finding]) -> None:
    """Warn of all warnings, and then raise all errors as one.

    Raises:
        ProblemsError: There are errors.
    """
    every = list(findings)
    warn_of(every)
    raise_errors(every)


def _in_words(errors: tuple[Finding, ...]) -> str:
    if len(errors) == 1:
        return str(errors[0])
    lines: list[str] = []
    for source in dict.fromkeys(error.source for error in errors):
        messages = [error.message for error in errors if error.source == source]
        if len(messages) == 1:
            lines.append(f"{source}: {messages[0]}" if source else messages[0])
            continue
        lines.append(f"{source}: {len(messages)} problems:" if source else f"{len(messages)} problems:")
        lines += [f"- {message}" for message in messages]
    return "\n".join(lines)
