"""Requests and answers, as the OpenAPI document describes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

_MOST_FIELDS = 20


class _OneError(FailFast):
    """Only the first error of a list is told, and a body may have a million of them. Unions need a hash of it."""

    __hash__ = object.__hash__


class _Request(BaseModel):
    """A body with fields that are known; of many others, not each is told."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, content: Any) -> Any:
        if isinstance(content, dict) and len(content) > _MOST_FIELDS:
            raise ValueError(f"has more than {_MOST_FIELDS} fields; it takes {', '.join(cls.model_fields)}")
        return content


_Texts = Annotated[list[str], _OneError()]
_Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
SHARES = frozenset({"min_probability", "error_rate", "confidence"})
"""The fields that are a number between 0 and 1."""


class ErrorAnswer(BaseModel):
    """What is wrong, and what to do about it."""

    error: str
    error_type: str


class ClassifyRequest(_Request):
    """Texts for one task."""

    task: Annotated[str | None, Field(description="Name of the task; needed if the server has several.")] = None
    texts: Annotated[_Texts, Field(min_length=1, description="The texts.")]
    top: Annotated[int, Field(ge=1, description="Number of labels to list for each text, the likeliest first.")] = 1
    min_probability: Annotated[
        _Probability | None, Field(description="Answer only texts with at least this probability.")
    ] = None
    error_rate: Annotated[
        _Share | None,
        Field(description="Answer as many texts as possible so that at most this share of the answers are wrong."),
    ] = None
    confidence: Annotated[
        _Share | None, Field(description="Confidence with which error_rate is promised; 0.95 if not given.")
    ] = None
    otherwise: Annotated[str, Field(max_length=1000, description="Label of the texts that are not answered.")] = ""
    explain: Annotated[bool, Field(description="Say which phrases of each text speak for its label.")] = False


class LabelScore(BaseModel):
    """A label with its calibrated probability and the method's own score."""

    label: str
    probability: float
    score: float


class PhraseWeight(BaseModel):
    """A phrase, `text[start:end]` of the request's text in characters, and how much it speaks for the label."""

    text: str
    start: int
    end: int
    weight: float


class ExplanationAnswer(BaseModel):
    """The phrases of a text. With "linear", weights are parts of the label's score; with "leave-one-out", how much the
    label's log-odds fall without the phrase."""

    label: str
    kind: Literal["linear", "leave-one-out"]
    phrases: list[PhraseWeight]


class PredictionAnswer(BaseModel):
    """What the server says of one text."""

    label: str
    probability: float
    score: float
    suggestion: Annotated[
        str | None, Field(description="The likeliest label of a text that is not answered; null for the others.")
    ]
    labels: Annotated[list[LabelScore], Field(description="The likeliest labels, as many as `top`.")]
    explanation: ExplanationAnswer | None


class ClassifyAnswer(BaseModel):
    """A prediction for each text, in their order."""

    task: str
    min_probability: Annotated[float | None, Field(description="From which probability on texts are answered.")]
    predictions: list[PredictionAnswer]


class PredictRequest(BaseModel):
    """A request as text-embeddings-inference takes it; fields that have no meaning here are ignored."""

    inputs: Annotated[
        str | _Texts | Annotated[list[_Texts], _OneError()],
        Field(description="A text, or a batch: [[text], [text], …]. Pairs of texts are not supported."),
    ]
    raw_scores: Annotated[bool, Field(description="Give the method's own scores and not probabilities.")] = False


class PredictScore(BaseModel):
    """A label with its score, as text-embeddings-inference gives it."""

    score: float
    label: str


class Accuracy(BaseModel):
    """How good the bundle is on some documents."""

    data: Annotated[str, Field(description="The name of the data that they are of.")]
    documents: int
    accuracy: float
    accuracy_interval: Annotated[tuple[float, float], Field(description="95 % interval.")]
    macro_f1: float


class TaskAnswer(BaseModel):
    """A task of the server."""

    name: str
    labels: list[str]
    method: str
    data: Annotated[str, Field(description="The name of the data that it was trained on.")]
    trained: Annotated[str, Field(description="When the bundle's run ended, ISO 8601.")]
    loaded: Annotated[str, Field(description="When the server loaded it, ISO 8601.")]
    bundle_bytes: Annotated[int, Field(description="Its size, without certificate and model card.")]
    validation: Annotated[
        Accuracy | None,
        Field(description="None where these documents were trained on, or not classified after the weights changed."),
    ]
    test: Annotated[
        Accuracy | None,
        Field(description="None where no documents were set aside for a test, or where the weights changed after it."),
    ]
    shares_pass: Annotated[bool, Field(description="Whether its texts are computed together with other tasks' texts.")]
    explanations: Literal["linear", "leave-one-out"]


class TasksAnswer(BaseModel):
    """All tasks, by name, and the limits that a client has to know."""

    tasks: list[TaskAnswer]
    max_texts: int
    max_characters: int
    max_rows: int
    max_body_bytes: int


class LoadRequest(_Request):
    """Which bundle to load."""

    bundle: Annotated[str, Field(min_length=1, description="A folder below the one that the server was started with.")]


class Health(BaseModel):
    """Whether the server works."""

    status: Literal["ok", "not ready"]
