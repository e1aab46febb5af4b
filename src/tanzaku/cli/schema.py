"""`tanzaku study schema`: the JSON Schema of study files."""

import typer

from tanzaku.cli.json_text import json_text


def schema() -> None:
    """Print the JSON Schema of study files, which editors use to complete and check them.

    See docs/studies.md for how to set it up.

    Examples:

    ```
    tanzaku study schema
    tanzaku study schema > study.schema.json
    ```
    """
    from tanzaku.study.schema import study_schema

    typer.echo(json_text(study_schema()))
