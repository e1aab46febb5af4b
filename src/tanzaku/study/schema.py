"""The JSON Schema of study files: editors complete and check them with it.

It follows from the models that a study is validated with, so it says what they say: names, types, limits, defaults and
descriptions. What depends on several keys at once is only checked by `expansion.read_study`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from tanzaku.methods import METHODS, EncoderMethod, TextMethod
from tanzaku.study.encoder_spec import ENCODER_SETTINGS, EncoderSpec
from tanzaku.study.spec import StudySpec, TrainingSpec

# The newest that editors for TOML know.
DIALECT = "http://json-schema.org/draft-07/schema#"

_Schema = dict[str, Any]


def study_schema() -> _Schema:
    """The schema of a study file, as JSON has it. Each arm is one of the methods, identified by its `method`."""
    definitions: _Schema = {}
    study, encoder, training = (_fields(model, definitions) for model in (StudySpec, EncoderSpec, TrainingSpec))
    # A recipe or an arm may say what has no default; only which encoder it is must stand in [encoder].
    sections = {"encoder": encoder | {"required": ["name"]}, "training": training | {"required": []}}
    of_arms = training["properties"] | {name: encoder["properties"][name] for name in ENCODER_SETTINGS}
    of_arms["recipe"] = study["properties"]["recipe"]
    definitions |= {f"arm.{name}": _axis(schema) for name, schema in of_arms.items()}
    arms = {
        "description": study["properties"]["arms"]["description"],
        "type": "array",
        "minItems": 1,
        "items": {"oneOf": [_arm(name, kind, definitions) for name, kind in METHODS.items()]},
    }
    properties = study["properties"] | sections | {"arms": arms}
    return {"$schema": DIALECT, **study, "title": "Study", "properties": properties, "$defs": definitions}


def _arm(name: str, kind: type[EncoderMethod] | type[TextMethod], definitions: _Schema) -> _Schema:
    """An arm of one method: flat, its options with what it may set of [training] and [encoder]."""
    schema = _fields(kind, definitions)
    shared = ["recipe"]
    if issubclass(kind, EncoderMethod):
        shared += [*(set(TrainingSpec.model_fields) - set(kind.settings_without_effect)), *ENCODER_SETTINGS]
    properties = {
        "method": {"const": name, "description": f"{schema['description']} ({kind.paper})"},
        **{key: _axis(value) for key, value in schema["properties"].items()},
        **{key: {"$ref": f"#/$defs/arm.{key}"} for key in sorted(shared)},
    }
    return schema | {"title": name, "properties": properties, "required": ["method"]}


def _axis(schema: _Schema) -> _Schema:
    """A value, or a list of values, which is an axis of the grid."""
    about: _Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    value = {key: content for key, content in schema.items() if key not in about}
    return {**about, "anyOf": [value, {"type": "array", "minItems": 1, "items": value}]}


def _fields(model: type[BaseModel], definitions: _Schema) -> _Schema:
    """What pydantic makes of a model; the models inside it go to `definitions`."""
    schema = model.model_json_schema()
    for name, inner in schema.pop("$defs", {}).items():
        definitions[name] = _without_nulls(inner)
    return _without_nulls(schema)


def _without_nulls(schema: _Schema) -> _Schema:
    """An object's schema without the null that TOML has no word for: its keys are left out instead."""
    return schema | {"properties": {key: _without_null(value) for key, value in schema["properties"].items()}}


def _without_null(schema: _Schema) -> _Schema:
    kept = {key: value for key, value in schema.items() if key != "title" and (key, value) != ("default", None)}
    kinds = [kind for kind in kept.pop("anyOf", []) if kind != {"type": "null"}]
    return kept | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
