"""What records, bundles and lists are made of."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tanzaku.errors import RecordError, TanzakuError, describe_validation_error


class Facts(BaseModel):
    """Facts that are written once and read back as they were: they do not change, and unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Read = TypeVar("Read", bound=Facts)


def read_facts(
    kind: type[Read], path: Path, *, what: str, remedy: str, error: type[TanzakuError] = RecordError
) -> Read:
    """The facts in a JSON file.

    Args:
        kind: What the file holds.
        path: The file.
        what: The same in words for errors, such as "a certificate".
        remedy: What to do if it can't be read.
        error: The class of errors.

    Raises:
        TanzakuError: It is missing, damaged or of another kind; of the class `error`.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as failed:
        reason = failed.strerror or str(failed)
    except ValidationError as failed:
        reason = describe_validation_error(failed)
    raise error(f"{path} can't be read as {what} ({reason}); {remedy}")
