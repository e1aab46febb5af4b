"""The tasks of a server: bundles by name, loaded, replaced and removed while requests run."""

from __future__ import annotations

import datetime
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tanzaku.errors import BundleError, TanzakuError
from tanzaku.extras import require_extra
from tanzaku.ship.bundle import Bundle, BundleFacts, EncoderBundleFacts, open_bundle
from tanzaku.ship.certificate import bundle_bytes
from tanzaku.ship.classifier import DEFAULT_BATCH_TOKENS, Classifier
from tanzaku.ship.held_out import HeldOut, read_held_out
from tanzaku.ship.scorers import Device, EncoderScorer, Precision, Scorer, TextScorer, compute_of, load_scorer

if TYPE_CHECKING:
    from tanzaku.encoders.tokens import TokenizedDocuments
    from tanzaku.methods.interface import Contribution
    from tanzaku.serving.engine import Engine, Pool
    from tanzaku.serving.shared import SharedEncoder

NAME_PATTERN = r"^[^\W_][\w.-]{0,63}$"  # of any script


class UnknownTaskError(TanzakuError):
    """A request that names a task that there is not."""


@dataclass(frozen=True)
class Task:
    """A loaded bundle.

    Attributes:
        name: By which requests name it.
        facts: What the bundle says of itself.
        bundle_bytes: The size of what it needs of its folder to classify.
        loaded: When, as ISO 8601 in UTC.
        shares_pass: Whether its texts go through the encoder together with those of other tasks.
        pool: What computes its scores.
        model: Which of the pool's models it is.
        contributions: What each part of a text adds to the scores; None where that is not known exactly.
        held_out: By what the bundle promises error rates; None where it can't.
    """

    name: str
    facts: BundleFacts
    bundle_bytes: int
    loaded: str
    shares_pass: bool
    pool: Pool
    model: Any
    contributions: Callable[[str], list[Contribution] | None] | None
    held_out: HeldOut | None

    def classifier(self, engine: Engine, *, deadline: float) -> Classifier:
        """A classifier for one request, whose scores the engine computes until `deadline` (of `time.monotonic`)."""
        return Classifier(self.facts, _QueuedScorer(self, engine, deadline), held_out=self.held_out)


class _QueuedScorer:
    """A `Scorer` that leaves the work to the engine."""

    def __init__(self, task: Task, engine: Engine, deadline: float) -> None:
        self._task, self._engine, self._deadline = task, engine, deadline

    def token_ids(self, texts: Sequence[str]) -> TokenizedDocuments | None:
        """None: a server's clients see no tokens."""

    def __call__(self, texts: Sequence[str], *, listener: Callable[[int], None]) -> np.ndarray:
        """Scores, (texts, labels) float32."""
        scores = self._engine.score(self._task.pool, self._task.model, texts, deadline=self._deadline)
        listener(len(texts))
        return scores


class _OwnPass:
    """A pool of one model, whose texts can't go together with those of another."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, items: Sequence[tuple[Any, str]]) -> list[np.ndarray]:
        """The scores of each text, (labels,) float32."""
        return list(self._scorer([text for _, text in items], listener=lambda _: None))


def check_name(name: str, *, remedy: str | None = None) -> None:
    """Raise a `BundleError` where a task can't have the name; `remedy` says how to give another."""
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise BundleError(
            f"{name!r} can't be the name of a task; use up to 64 letters, digits and . _ -, beginning with a letter or "
            f"digit{f'; {remedy}' if remedy else ''}"
        )


class Tasks:
    """Bundles by name. All methods may be called from any thread.

    A request that has looked up its task keeps it: replacing or removing the task does not disturb that request.

    Args:
        encoder: Where the base encoders are, if not under the names in the bundles.
        device: As for `Classifier.load`.
        precision: As for `Classifier.load`.
        batch_tokens: As for `Classifier.load`.
    """

    def __init__(
        self,
        *,
        encoder: str | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
    ) -> None:
        self._encoder, self._device, self._precision, self._batch_tokens = encoder, device, precision, batch_tokens
        self._tasks: dict[str, Task] = {}
        self._shared: weakref.WeakValueDictionary[tuple[str, str, str], SharedEncoder] = weakref.WeakValueDictionary()
        self._loading = threading.Lock()

    def load(self, name: str, folder: Path) -> Task:
        """Load a bundle and give it a name; from then on, requests for that name get it.

        If it can't be loaded, a task that has the name already stays as it is.

        Raises:
            BundleError: The name is not one for a task, or the bundle can't be loaded.
        """
        check_name(name)
        with self._loading:
            task = self._load(name, open_bundle(folder))
            self._tasks = {**self._tasks, name: task}  # a new dictionary: others may be reading the old one
            return task

    def remove(self, name: str) -> Task:
        """Take a task away; requests that have it already finish.

        Raises:
            UnknownTaskError: There is no such task.
        """
        with self._loading:
            task = self.get(name)
            self._tasks = {other: one for other, one in self._tasks.items() if other != name}
            return task

    def get(self, name: str | None = None, *, how: str = "name the task of the request") -> Task:
        """The task of that name; without a name, the only one.

        Args:
            name: Its name.
            how: What a client is to do if there are several and none is named.

        Raises:
            UnknownTaskError: There is no such task.
            TanzakuError: There are several and none is named.
        """
        tasks = self._tasks
        if name is None and len(tasks) == 1:
            return next(iter(tasks.values()))
        if name in tasks:
            return tasks[name]
        if not tasks:
            raise UnknownTaskError("the server has no tasks")
        names = ", ".join(map(repr, sorted(tasks)[:20]))
        if name is None:
            raise TanzakuError(f"{how}; the tasks are: {names}")
        raise UnknownTaskError(f"there is no task {name!r}; the tasks are: {names}")

    def all(self) -> list[Task]:
        """The tasks, in the order of their names."""
        return [task for _, task in sorted(self._tasks.items())]

    def _load(self, name: str, bundle: Bundle) -> Task:
        pool, model, contributions, shares = self._pool_of(bundle)
        return Task(
            name=name,
            facts=bundle.facts,
            bundle_bytes=bundle_bytes(bundle.folder),
            loaded=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            shares_pass=shares,
            pool=pool,
            model=model,
            contributions=contributions,
            held_out=read_held_out(bundle.folder),
        )

    def _pool_of(self, bundle: Bundle) -> tuple[Pool, Any, Callable[[str], list[Contribution] | None] | None, bool]:
        """What computes a bundle, which of its models, how it is explained, and whether it shares the pass."""
        shared = self._shared_encoder(bundle)
        if shared is not None and (model := shared.add(bundle)) is not None:
            return shared, model, None, True
        scorer = load_scorer(
            bundle,
            encoder=self._encoder,
            device=self._device,
            precision=self._precision,
            batch_tokens=self._batch_tokens,
        )
        if shared is not None and isinstance(scorer, EncoderScorer):
            from tanzaku.serving.shared import share_weights

            share_weights(scorer.model, shared)
        # It holds the shared encoder, so that the next bundle finds it.
        exact = scorer.contributions if isinstance(scorer, TextScorer) and scorer.has_contributions else None
        return _OwnPass(scorer), shared, exact, False

    def _shared_encoder(self, bundle: Bundle) -> SharedEncoder | None:
        """The encoder that a bundle was adapted from; None where it needs none, or brings its own."""
        facts = bundle.facts
        if not isinstance(facts, EncoderBundleFacts) or facts.whole:
            return None
        require_extra("train", purpose="serving a bundle that was not exported", module="torch")
        from tanzaku.encoders.mixed import MIXED_MODEL_TYPES
        from tanzaku.serving.shared import SharedEncoder
        from tanzaku.ship.loading import find_encoder

        if facts.base.model_type not in MIXED_MODEL_TYPES:
            return None
        compute = compute_of(facts, device=self._device, precision=self._precision)
        key = (facts.base.fingerprint, compute.device, compute.precision)
        found = self._shared.get(key)
        if found is None:
            source = find_encoder(
                facts.encoder,
                fingerprint=facts.base.fingerprint,
                other_name=self._encoder,
                needed_by=f"the bundle {bundle.folder}",
            )
            found = SharedEncoder(source, compute=compute, batch_tokens=self._batch_tokens)
            self._shared[key] = found
        return found
