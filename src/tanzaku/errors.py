"""The errors that Tanzaku raises on purpose.

Each message names the value that is wrong, where it stands, what would be valid, and the remedy. The command line
prints the message alone; anything that is not a `TanzakuError` is a bug and shows its traceback.
"""


class TanzakuError(Exception):
    """Base class of every error that a user can cause and mend."""


class DataError(TanzakuError):
    """Documents, labels or splits that can't be used as they are."""


class EncoderError(TanzakuError):
    """An encoder or tokenizer that is missing, incomplete or does not fit."""


class SpecError(TanzakuError):
    """A study file, or a `--set` override, that says something invalid."""


class MethodError(TanzakuError):
    """A method that can't be attached to this encoder, or a saved one that can't be read."""


class CheckpointError(TanzakuError):
    """A checkpoint that is damaged or belongs to another run."""


class RecordError(TanzakuError):
    """A run record that is damaged, missing or of an unknown version."""


class ProcessError(TanzakuError):
    """A worker process that could not be started, or died."""


class BundleError(TanzakuError):
    """A run that can't be packed, or a bundle that is damaged or lacks its encoder."""


class TanzakuWarning(UserWarning):
    """Something that the user should look at, but that need not stop the work."""
