"""What records, bundles and lists are made of."""

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """Facts that are written once and read back as they were: they do not change, and unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
