"""The server's routes."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tanzaku import __version__
from tanzaku.errors import TanzakuError
from tanzaku.serving.engine import LateError
from tanzaku.serving.failures import ApiError, mistake
from tanzaku.serving.guard import App, Guard
from tanzaku.serving.page import read_page
from tanzaku.serving.schemas import (
    SHARES,
    ClassifyAnswer,
    ClassifyRequest,
    ErrorAnswer,
    Health,
    LoadRequest,
    PredictRequest,
    PredictScore,
    TaskAnswer,
    TasksAnswer,
)
from tanzaku.serving.service import LabelledFile, Service, describe_task
from tanzaku.serving.tables import LONGEST_NAME
from tanzaku.serving.tasks import NAME_PATTERN, UnknownTaskError

Result = TypeVar("Result")
_ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorAnswer}, "5XX": {"model": ErrorAnswer}}
_Name = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of the task.")]


class _Threads:
    """Runs functions that wait for the engine outside the event loop: at most as many as requests may be in flight."""

    def __init__(self, service: Service) -> None:
        self._most = service.limits.max_requests
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, function: Callable[[], Result]) -> Result:
        """The function's result."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._most)  # belongs to the event loop that runs now
        return await anyio.to_thread.run_sync(function, limiter=self._limiter)


def make_app(service: Service, *, host: str = "127.0.0.1") -> App:
    """The server as an ASGI application.

    Args:
        service: Its parts.
        host: The address that it is bound to; see `Guard`.
    """
    # The pages for trying requests would load scripts from elsewhere.
    app = FastAPI(title="Tanzaku", version=__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(ApiError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(TanzakuError, _unusable)
    app.add_exception_handler(Exception, _mistaken)
    app.include_router(_health_routes(service))
    threads = _Threads(service)
    for routes in (_classifying_routes, _table_routes, _task_routes):
        app.include_router(routes(service, threads))
    return Guard(app, service, host=host)


def _health_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["health"], responses=_ERRORS)

    def health(response: Response, *, good: bool) -> Health:
        if good:
            return Health(status="ok")
        response.status_code = 503
        return Health(status="not ready")

    @router.get("/healthz", responses={503: {"model": Health}})
    @router.get("/health", include_in_schema=False)  # text-embeddings-inference's name
    async def healthz(response: Response) -> Health:
        """Whether the server works: status 503 if nothing computes any more and it has to be restarted."""
        return health(response, good=service.engine.is_alive())

    @router.get("/readyz", responses={503: {"model": Health}})
    async def readyz(response: Response) -> Health:
        """Whether the server can classify: status 503 while it has no task."""
        return health(response, good=service.is_ready())

    page, policy = read_page()

    @router.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers={"content-security-policy": policy})

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counters in Prometheus's text format."""
        service.metrics.waiting.set(service.engine.waiting())
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _classifying_routes(service: Service, threads: _Threads) -> APIRouter:
    router = APIRouter(tags=["classify"], responses=_ERRORS)

    @router.post("/v1/classify")
    async def classify(request: Request, content: ClassifyRequest) -> ClassifyAnswer:
        """Classify texts with one task."""
        task = service.tasks.get(content.task, how="name the task of the request in its field task")
        request.state.task, request.state.texts = task.name, len(content.texts)
        return await threads.run(lambda: service.classify(content, task))

    async def predict(
        request: Request, content: PredictRequest, name: str | None
    ) -> list[PredictScore] | list[list[PredictScore]]:
        task = service.tasks.get(name, how="name the task in the address: /v1/tasks/NAME/predict")
        request.state.task = task.name
        return await threads.run(lambda: service.predict(content, task))

    @router.post("/predict")
    async def predict_only_task(
        request: Request, content: PredictRequest
    ) -> list[PredictScore] | list[list[PredictScore]]:
        """Classify as text-embeddings-inference does, with the server's only task."""
        return await predict(request, content, None)

    @router.post("/v1/tasks/{name}/predict")
    async def predict_task(
        request: Request, name: _Name, content: PredictRequest
    ) -> list[PredictScore] | list[list[PredictScore]]:
        """Classify as text-embeddings-inference does, with this task."""
        return await predict(request, content, name)

    return router


_FILE = {"schema": {"type": "string", "format": "binary"}}
_TABLE: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/octet-stream": _FILE}}}


def _table_routes(service: Service, threads: _Threads) -> APIRouter:
    router = APIRouter(tags=["classify"], responses=_ERRORS)

    @router.post(
        "/v1/tables",
        openapi_extra=_TABLE,
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": _FILE}}},
    )
    async def label_table(
        request: Request,
        filename: Annotated[str, Query(max_length=255, description="Its ending says what is sent: .csv, .tsv, .xlsx.")],
        task: Annotated[str | None, Query(description="Name of the task.")] = None,
        column: Annotated[str | None, Query(description="Column of the texts; otherwise it is guessed.")] = None,
    ) -> Response:
        """Send a table, and get it back with two more columns: the label of each row's text, and its probability."""
        chosen = service.tasks.get(task, how="name the task of the request in its parameter task")
        request.state.task = chosen.name
        if request.headers.get("content-type", "").strip().lower().startswith("multipart/"):
            raise ApiError(415, "send the file itself as the body, not a form: curl --data-binary @FILE")
        content = await request.body()
        file = await threads.run(lambda: service.label_table(content, chosen, name=filename, column=column))
        request.state.texts = file.rows
        return Response(
            file.content,
            media_type=file.media_type,
            headers=_told(file),
        )

    return router


def _task_routes(service: Service, threads: _Threads) -> APIRouter:
    router = APIRouter(tags=["tasks"], responses=_ERRORS)

    @router.get("/v1/tasks")
    async def list_tasks() -> TasksAnswer:
        """The tasks, and the limits of requests."""
        limits = service.limits
        return TasksAnswer(
            tasks=[describe_task(task) for task in service.tasks.all()],
            max_texts=limits.max_texts,
            max_characters=limits.max_characters,
            max_rows=limits.max_rows,
            max_body_bytes=limits.max_body_bytes,
        )

    @router.put("/v1/tasks/{name}")
    async def load_task(request: Request, name: _Name, content: LoadRequest) -> TaskAnswer:
        """Load a bundle as this task, or replace it; requests that have begun are answered by the old one."""
        request.state.task = name
        return describe_task(await threads.run(lambda: service.load(name, content.bundle)))

    @router.delete("/v1/tasks/{name}", status_code=204)
    async def remove_task(request: Request, name: _Name) -> None:
        """Remove this task; requests that have begun are still answered."""
        request.state.task = name
        await threads.run(lambda: service.remove(name))

    return router


def _told(file: LabelledFile) -> dict[str, str]:
    """What of a table was labelled; names and remarks are percent-encoded, and several separated by commas."""
    # Clients limit the bytes of a header.
    told = {"x-text-column": quote(file.column[:LONGEST_NAME]), "x-rows": str(file.rows)}
    if file.sheet is not None:
        told["x-sheet"] = quote(file.sheet)
    if file.other_sheets:
        told["x-other-sheets"] = ",".join(quote(name, safe="") for name in file.other_sheets)
    if file.remarks:
        told["x-remarks"] = ",".join(quote(remark, safe="") for remark in file.remarks)
    return told


def _answer(failure: ApiError) -> JSONResponse:
    return JSONResponse(failure.content(), status_code=failure.status, headers=dict(failure.headers))


async def _failed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _answer(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, without quoting it."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part).encode("utf-8", "replace").decode() for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ").encode("utf-8", "replace").decode()
    if first["type"] == "json_invalid":
        at = first["loc"][-1]
        return _answer(ApiError(422, f"the body is not valid JSON: {first['ctx']['error']} (character {at})"))
    if place == "body" and not _is_json(request):
        return _answer(ApiError(422, "send the body as JSON, with the header Content-Type: application/json"))
    if place == "body":
        reason = "give a JSON object, such as {…}"
    if first["loc"][-1] in SHARES:
        reason = "give a number between 0 and 1, such as 0.95"
    return _answer(ApiError(422, f"{place}: {reason}"))


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, UnicodeDecodeError):
        return _answer(ApiError(422, "the body is not valid UTF-8; send JSON in UTF-8"))
    return _answer(ApiError(error.status_code, str(error.detail), dict(error.headers or {})))


async def _mistaken(request: Request, error: Exception) -> JSONResponse:
    """An error of ours; the guard, which the error reaches next, logs it."""
    del error
    return _answer(mistake(request.state.request_id))


async def _unusable(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnknownTaskError):
        return _answer(ApiError(404, str(error)))
    if isinstance(error, LateError):
        return _answer(ApiError(503, str(error), {"retry-after": "5"}))
    return _answer(ApiError(422, str(error)))
