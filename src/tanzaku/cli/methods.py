"""`tanzaku methods`: list the methods and the parameters that each trains."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from tanzaku.cli.json_text import json_text
from tanzaku.display import plain_console

if TYPE_CHECKING:
    from torch import nn

    from tanzaku.methods.catalogue import MethodFacts

_COLUMNS = ("method", "trained", "share (%)", "MB", "mergeable", "paper")
# The thesis's encoder.
_BERT_BASE, _WORDS = "a BERT-base with 32,000 words", 32_000


def methods(
    encoder: Annotated[
        str | None,
        typer.Argument(
            metavar="ENCODER",
            help="A local folder, a Hub id, or tanzaku-mini.",
            show_default="tanzaku-mini if it is installed, otherwise the shape of BERT-base",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the encoder on the Hub.")] = None,
    labels: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 9,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, instead of a table.")] = False,
) -> None:
    """List the methods with the number and size of the parameters that each trains, and the paper.

    Counts are for the default options and include the head; MB are 10^6 bytes of float32.

    Examples:

    ```
    tanzaku methods
    tanzaku methods tohoku-nlp/bert-base-japanese --labels 2
    tanzaku methods ./my-encoder --json | jq '.methods[].name'
    ```
    """
    from tanzaku.encoders.source import EMBEDDED_NAME, has_embedded
    from tanzaku.methods.catalogue import describe_methods

    name = encoder or (EMBEDDED_NAME if has_embedded() else None)
    model, head = _shape(labels) if name is None else _load(name, revision, labels)
    facts = describe_methods(model, head=head)
    described = _Described(name or _BERT_BASE, sum(parameter.numel() for parameter in model.parameters()), head, labels)
    if as_json:
        content = {"encoder": asdict(described), "methods": [asdict(method) for method in facts]}
        typer.echo(json_text(content))
    else:
        _print(facts)
        _explain(str(described), *_without_pooler(model, head), *(method.error for method in facts if method.error))


@dataclass(frozen=True)
class _Described:
    """The encoder, as shown in the output."""

    name: str
    parameters: int
    head: tuple[str, ...]
    labels: int

    def __str__(self) -> str:
        head = ", ".join(self.head)
        return f"{self.name}: {self.parameters:,} parameters with a head for {self.labels} labels ({head})"


def _without_pooler(model: "nn.Module", head: tuple[str, ...]) -> "Iterator[str]":
    """Why a study whose encoder has no pooler counts fewer parameters."""
    poolers = [name for name in head if name.rpartition(".")[2] == "pooler"]
    count = sum(parameter.numel() for name in poolers for parameter in model.get_submodule(name).parameters())
    if count:
        yield (
            f'This is with pooling = "cls". With "mean", the head has no pooler, and the methods train {count:,} '
            "parameters fewer."
        )


def _shape(labels: int) -> "tuple[nn.Module, tuple[str, ...]]":
    """BERT-base's shapes, with a pooler in the checkpoint."""
    from transformers import BertConfig

    from tanzaku.encoders.load import bare_classifier

    return bare_classifier(BertConfig(vocab_size=_WORDS), labels=labels), ("classifier",)


def _load(name: str, revision: str | None, labels: int) -> "tuple[nn.Module, tuple[str, ...]]":
    """The encoder itself: its weights determine which modules its head has."""
    from tanzaku.encoders.load import load_classifier, resolve_encoder
    from tanzaku.encoders.source import warn_of_revision

    source = resolve_encoder(name, revision=revision)
    warn_of_revision(source, revision)
    loaded = load_classifier(source, label_names=[str(number) for number in range(labels)], seed=0)
    return loaded.model, loaded.head


def _print(facts: "list[MethodFacts]") -> None:
    """A table on a terminal; tab-separated lines otherwise."""
    console = plain_console()
    rows = [_row(method) for method in facts]
    if not console.is_terminal:
        for row in (_COLUMNS, *rows):
            typer.echo("\t".join(row))
        return
    table = Table(
        _COLUMNS[0], *(Column(name, justify="right") for name in _COLUMNS[1:4]), _COLUMNS[4], Column(_COLUMNS[5])
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _explain(*lines: str) -> None:
    console = plain_console(stderr=True, soft_wrap=True)
    for line in lines:
        console.print(line)


def _row(method: "MethodFacts") -> tuple[str, ...]:
    mergeable = {True: "yes", False: "no", None: ""}[method.mergeable]
    if method.trainable_parameters is None or method.share is None or method.bytes is None:
        return (method.name, "not usable" if method.error else "", "", "", mergeable, method.paper)
    share, size = f"{100 * method.share:.3f}", f"{method.bytes / 1e6:.2f}"
    return (method.name, f"{method.trainable_parameters:,}", share, size, mergeable, method.paper)
