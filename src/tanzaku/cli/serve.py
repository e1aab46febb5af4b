"""`tanzaku serve`: bundles behind HTTP."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tanzaku.cli.classifying import folder_of
from tanzaku.cli.options import Command, ModelOptions, with_options
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console
from tanzaku.errors import BundleError

if TYPE_CHECKING:
    from tanzaku.serving.limits import Limits
    from tanzaku.serving.tokens import Tokens


# Not TANZAKU_PORT: Kubernetes sets that to an address where a service is called tanzaku.
PORT_VARIABLE = "TANZAKU_LISTEN_PORT"
Port = Annotated[
    int,
    typer.Option(
        min=0,
        max=65535,
        help=f"Port to listen on; 0: a free one. Also: ${PORT_VARIABLE}.",
        envvar=PORT_VARIABLE,
        show_envvar=False,
    ),
]


def declare() -> Command:
    """`serve`, with an option for each field of `Limits`."""
    from pydantic import ValidationError

    from tanzaku.errors import SpecError, describe_validation_error
    from tanzaku.serving.limits import Limits

    panels = {"Limits": tuple(Limits.model_fields)}

    def build(given: dict[str, Any]) -> Limits:
        try:
            return Limits(**given)
        except ValidationError as error:
            option = re.sub(r"^\w+", lambda name: "--" + name[0].replace("_", "-"), describe_validation_error(error))
            raise SpecError(option) from error

    return with_options(serve, limits=ModelOptions(Limits, build, panels=panels))


@dataclass(frozen=True)
class Access:
    """Options for who may do what."""

    token_file: Annotated[
        Path | None, typer.Option(help="File with one token per line; clients must send one. Also: $TANZAKU_TOKEN.")
    ] = None
    admin_token_file: Annotated[
        Path | None, typer.Option(help="File with tokens for loading and removing tasks. Also: $TANZAKU_ADMIN_TOKEN.")
    ] = None
    bundle_folder: Annotated[
        Path | None,
        typer.Option("--bundles", help="Folder whose bundles an administrator may load while the server runs."),
    ] = None

    def tokens(self) -> "Tokens":
        """The tokens of the files and the environment."""
        from tanzaku.serving.tokens import ADMIN_VARIABLE, TOKEN_VARIABLE, Tokens, read_tokens

        return Tokens.of(
            users=read_tokens(self.token_file, variable=TOKEN_VARIABLE),
            admins=read_tokens(self.admin_token_file, variable=ADMIN_VARIABLE),
        )

    def check(self, tokens: "Tokens") -> None:
        """Refuse what only has an effect together."""
        if self.bundle_folder is not None and not self.bundle_folder.is_dir():
            raise BundleError(f"--bundles {self.bundle_folder}: there is no such folder")
        if self.bundle_folder is not None and not tokens.admins:
            raise BundleError("--bundles only has an effect with an administrator's token; give --admin-token-file")
        if self.bundle_folder is None and self.admin_token_file is not None:
            raise BundleError("--admin-token-file only has an effect with --bundles; give both or neither")


@dataclass(frozen=True)
class Computing:
    """Options for loading and running the bundles."""

    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the bundles' encoder is, if not under its name.")
    ] = None
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Numerical precision; auto: the precision of each run."),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Device to run on.")] = "auto"


def serve(
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]BUNDLE",
            help="Bundles, also hf://owner/name[@revision]; a task has the name of its folder if none is given.",
        ),
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Port = 8000,
    access: Access,
    computing: Computing,
    limits: "Limits",
    threads: Threads = None,
) -> None:
    """Serve bundles over HTTP, with a page for trying them at /.

    Bundles that add adapters to the same encoder share its weights, and their texts go through it in one pass.
    The address is written to standard output when the server is ready, the log to standard error.
    SIGTERM and Ctrl-C finish the requests that have begun.

    Examples:

    ```
    tanzaku serve my-bundle
    tanzaku serve news=bundles/news-v2 topics=bundles/topics --port 9000
    tanzaku serve hf://my-name/my-classifier
    tanzaku serve bundles/* --host 0.0.0.0 --token-file token.txt
    tanzaku serve my-bundle --bundles bundles --admin-token-file admin.txt
    ```
    """
    del threads  # settled already
    from tanzaku.extras import require_extra

    require_extra("serve", purpose="tanzaku serve")
    from tanzaku.serving.server import check_address
    from tanzaku.serving.server import serve as run
    from tanzaku.serving.service import Service
    from tanzaku.serving.tasks import Tasks

    tokens = access.tokens()
    access.check(tokens)
    check_address(host, protected=tokens.needed)
    named = _named(bundles)
    tasks = Tasks(encoder=computing.encoder, device=computing.device, precision=computing.precision)
    service = Service(tasks, limits=limits, tokens=tokens, bundles=access.bundle_folder)
    run(service, named, host=host, port=port, started=lambda url: plain_console(soft_wrap=True).print(url))


def _named(bundles: list[str]) -> dict[str, Path]:
    """The bundles by the names of their tasks."""
    from tanzaku.serving.tasks import check_name

    named: dict[str, str] = {}
    for given in bundles:
        name, equals, place = given.partition("=")
        if not equals or Path(given).is_dir():
            name, place = _task_of(given), given
        check_name(name, remedy=f"name it: OTHER={place}")
        if name in named:
            raise BundleError(
                f"two bundles would be the task {name!r}: {named[name]} and {place}; name one: OTHER={place}"
            )
        named[name] = place
    return {name: folder_of(place) for name, place in named.items()}


def _task_of(bundle: str) -> str:
    """The name of a task to which none was given."""
    from tanzaku.ship.hub import PREFIX

    if bundle.startswith(PREFIX):
        return bundle.removeprefix(PREFIX).partition("@")[0].rstrip("/").rpartition("/")[2]
    return Path(bundle).resolve().name
