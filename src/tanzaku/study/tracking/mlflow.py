"""MLflow: an experiment for each study, and in it a run for each run."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from tanzaku.errors import TrackingError
from tanzaku.extras import require_extra
from tanzaku.study.tracking.content import TrackedRun

_RUN_TAG = "tanzaku.run_id"
_SENT_TAG = "tanzaku.sent"  # the checksum of what MLflow has of a run
_STUDY_RUN = "report-and-bundle"
_STATUS = {"running": "RUNNING", "interrupted": "KILLED", "finished": "FINISHED", "failed": "FAILED"}
# A study must not wait long for a server that does not answer: MLflow's own values are minutes. Standard output is for
# results, and nobody who tracks on their own server asked for reports of use to MLflow's makers.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# The most that MLflow takes at once, and the longest values.
_METRICS, _PAIRS, _PARAMETER_LENGTH, _TAG_LENGTH = 1000, 100, 6000, 5000


class MlflowTracker:
    """Sends to a server or a store of MLflow. A run is found by its tag, so that there is one of it however often it is
    sent, and only gets what it lacks."""

    def __init__(self, destination: str, uri: str) -> None:
        self.destination = destination
        self._uri = uri
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        require_extra("mlflow", purpose="sending to MLflow")
        self._experiments: dict[str, str] = {}  # by the study's name
        self._known: dict[str, dict[tuple[str, int], float]] = {}  # of each of MLflow's runs, the points that it has

    def send(self, run: TrackedRun) -> bool:
        """Add what MLflow lacks of the run. A run of the same name with other values there is replaced.

        Returns:
            Whether it lacked anything.
        """
        with self._errors():
            found = self._find(run.study, run.run_id)
            if found is not None and found.data.tags.get(_SENT_TAG) == run.digest:
                return False
            if found is not None and self._contradicts(found, run):
                self._client.delete_run(found.info.run_id)  # MLflow can't change a value, and can restore the run
                found = None
            target = found or self._create(run.study, run.run_id, started=run.points[0].time if run.points else None)
            self._log(target, run)
        return True

    def send_folders(self, study: str, folders: Mapping[str, Path]) -> None:
        """Put the folders, with their names, into a run of MLflow's for the whole study."""
        with self._errors():
            target = self._find(study, _STUDY_RUN) or self._create(study, _STUDY_RUN)
            for name, folder in folders.items():
                self._client.log_artifacts(target.info.run_id, str(folder), artifact_path=name)
            self._client.set_terminated(target.info.run_id, "FINISHED")

    @cached_property
    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self._uri)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError, ImportError) as error:  # those of requests are OSErrors
            reason = " ".join(str(error).split())
            raise TrackingError(f"MLflow at {self._uri}: {reason}") from error

    def _experiment(self, study: str) -> str:
        if study not in self._experiments:
            self._experiments[study] = self._find_experiment(study)
        return self._experiments[study]

    def _find_experiment(self, study: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(study)
        if found is None:
            try:
                return str(self._client.create_experiment(study))
            except MlflowException:
                found = self._client.get_experiment_by_name(study)  # another process made it meanwhile
                if found is None:
                    raise
        return str(found.experiment_id)

    def _find(self, study: str, run_id: str) -> Any:
        """The run in MLflow, or None; the first where two processes made it at the same moment."""
        wanted = f"tags.`{_RUN_TAG}` = '{run_id}'"
        order = ["attributes.start_time ASC"]
        found = self._client.search_runs([self._experiment(study)], wanted, max_results=1, order_by=order)
        return found[0] if found else None

    def _create(self, study: str, run_id: str, *, started: float | None = None) -> Any:
        start = None if started is None else _milliseconds(started)
        tags = {_RUN_TAG: run_id, "tanzaku.study": study}
        return self._client.create_run(self._experiment(study), start_time=start, tags=tags, run_name=run_id)

    def _contradicts(self, found: Any, run: TrackedRun) -> bool:
        """Whether MLflow has another value than the run at the same step. Parameters follow from the run's name, except
        for paths, which archives do not have."""
        identity = found.info.run_id
        if identity not in self._known:
            self._known[identity] = {
                (entry.key, entry.step): entry.value
                for name in found.data.metrics
                for entry in self._client.get_metric_history(identity, name)
            }
        # A run that has just begun has no points yet; what it gets later is compared again.
        kept, values = self._known[identity], {(point.name, point.step): point.value for point in run.points}
        return any(values.get(place, value) != value for place, value in kept.items())

    def _log(self, target: Any, run: TrackedRun) -> None:
        from mlflow.entities import Metric, Param, RunTag

        identity = target.info.run_id
        known = self._known.setdefault(identity, {})
        metrics = [
            Metric(point.name, point.value, _milliseconds(point.time), point.step)
            for point in run.points
            if (point.name, point.step) not in known
        ]
        new = {name: value for name, value in run.parameters.items() if name not in target.data.params}
        parameters = [Param(name, value[:_PARAMETER_LENGTH]) for name, value in new.items()]
        tags = [RunTag(name, value[:_TAG_LENGTH]) for name, value in run.tags.items()]
        for some in _pieces(parameters, _PAIRS):
            self._client.log_batch(identity, params=some)
        for some in _pieces(tags, _PAIRS):
            self._client.log_batch(identity, tags=some)
        for some in _pieces(metrics, _METRICS):
            self._client.log_batch(identity, metrics=some)
            known |= {(metric.key, metric.step): metric.value for metric in some}
        self._send_files(identity, run.files)
        if run.state == "running":
            self._client.update_run(identity, status=_STATUS[run.state])
        else:
            ended = None if run.ended is None else _milliseconds(run.ended)
            self._client.set_terminated(identity, _STATUS[run.state], ended)
        if run.state != "failed" and "error" in target.data.tags:
            self._client.delete_tag(identity, "error")
        self._client.set_tag(identity, _SENT_TAG, run.digest)  # last: before it, all is there

    def _send_files(self, identity: str, files: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / name
                path.write_text(text, encoding="utf-8", newline="")
                self._client.log_artifact(identity, str(path))


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _pieces(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece
