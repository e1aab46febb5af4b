"""What a server allows: sizes, times and numbers of requests. Each default is here, and nowhere else."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Limits(BaseModel):
    """The limits of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: Annotated[int, Field(ge=1, description="Largest body of a request, in bytes.")] = 2_000_000
    max_texts: Annotated[int, Field(ge=1, description="Most texts of a request.")] = 256
    max_characters: Annotated[int, Field(ge=1, description="Most characters of a text.")] = 20_000
    max_explained: Annotated[int, Field(ge=0, description="Most texts of a request that asks for explanations.")] = 8
    max_rows: Annotated[int, Field(ge=1, description="Most rows of a table.")] = 2_000
    max_requests: Annotated[
        int, Field(ge=1, description="Most requests that are computed or wait for it; others get status 429.")
    ] = 32
    max_connections: Annotated[int, Field(ge=1, description="Most open connections; others are closed.")] = 1_000
    request_seconds: Annotated[
        float,
        Field(
            gt=0, allow_inf_nan=False, description="Longest time for classifying the texts of a request, in seconds."
        ),
    ] = 30.0
    table_seconds: Annotated[_Seconds, Field(description="Longest time for a table, in seconds.")] = 300.0
    read_seconds: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Longest time in which a client sends a request, or takes an answer, in seconds.",
        ),
    ] = 10.0
    shutdown_seconds: Annotated[
        int, Field(ge=1, description="Longest time for requests to finish after SIGTERM, in seconds.")
    ] = 30
