"""The student: some of the teacher's layers, a narrower encoder with its embeddings, or an encoder that there is."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from tanzaku.encoders.config import dropout_set, restore_dropout
from tanzaku.encoders.load import EncoderSource, encoder_class, load_encoder, without_pooler
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.errors import EncoderError
from tanzaku.methods.targets import place_of
from tanzaku.pretraining.distillation.options import StudentShape

# What configurations call other widths that are usually the layers': of DeBERTa's pooler, of ELECTRA's tables.
_AS_WIDE = ("pooler_hidden_size", "embedding_size")


@dataclass(frozen=True)
class Student:
    """A student, float32, on the CPU, without a pooler.

    `started_from` are the teacher's layers that its own are copies of; None where they are not. `has_embeddings` says
    whether its embeddings are the teacher's.
    """

    model: PreTrainedModel
    started_from: tuple[int, ...] | None
    has_embeddings: bool


def evenly_spaced(layers: int, *, of: int) -> tuple[int, ...]:
    """The numbers of `layers` of the layers 0 to `of` - 1 in even steps, of which the last one is the last."""
    return tuple(round((number + 1) * of / layers) - 1 for number in range(layers))


def new_student(
    teacher: PreTrainedModel, shape: StudentShape, *, chosen: Sequence[int] | None, dropout: float, seed: int
) -> Student:
    """A student of this shape, which starts from the teacher as far as their widths agree.

    As wide as the teacher, its layers are copies of the teacher's (Sanh et al. 2019, arXiv 1910.01108, section 3).
    Otherwise they are random, and the embeddings of a narrower student are the teacher's, projected onto the principal
    directions of the word table.

    Args:
        teacher: On the CPU.
        shape: Of the student.
        chosen: The teacher's layers to copy; evenly spaced if None.
        dropout: Of its dropout modules while training; the configuration keeps the teacher's.
        seed: Of random weights.

    Raises:
        EncoderError: The shape does not fit the teacher.
    """
    config = _config(teacher.config, shape)
    numbers = tuple(chosen) if chosen is not None else _usual_layers(teacher, shape.layers)
    if numbers[-1] >= teacher.config.num_hidden_layers:
        last = teacher.config.num_hidden_layers - 1
        raise EncoderError(f"layers: the teacher has no layer {numbers[-1]}; its layers are numbered 0 to {last}")
    _keep_of_each_layer(config, numbers)
    kind = encoder_class(config)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.default_generator.manual_seed(seed)
        with dropout_set(config, hidden=dropout, attention=dropout):
            model = kind(config, **without_pooler(kind))
    restore_dropout(model.config, config)
    copied = _has_width(teacher.config, config)
    if copied:
        _copy_layers(teacher, model, numbers)
    elif chosen is not None:
        raise EncoderError("layers: a student of another width has no copies of the teacher's layers; leave it out")
    elif config.hidden_size == teacher.config.hidden_size:
        _copy_embeddings(teacher, model)
    else:
        _project_embeddings(teacher, model)
    return Student(
        model,
        started_from=numbers if copied else None,
        has_embeddings=config.hidden_size == teacher.config.hidden_size,
    )


def _usual_layers(teacher: PreTrainedModel, layers: int) -> tuple[int, ...]:
    """Evenly spaced ones; the first is the teacher's first if that has other parts than the others, as ModernBERT's."""
    numbers = evenly_spaced(layers, of=teacher.config.num_hidden_layers)
    parts: dict[int, set[str]] = {0: set(), numbers[0]: set()}
    for name, _ in teacher.named_parameters():
        if (place := place_of(name)) is not None and place.number in parts:
            parts[place.number].add(place.inside)
    return numbers if parts[0] == parts[numbers[0]] else (0, *numbers[1:])


def existing_student(source: EncoderSource, teacher: PreTrainedModel, *, dropout: float) -> Student:
    """An encoder as the student.

    Raises:
        EncoderError: It can't be loaded, or has another vocabulary size or more layers than the teacher.
    """
    model = load_encoder(source, pooler=False)
    theirs, ours = teacher.config, model.config
    if ours.vocab_size != theirs.vocab_size or ours.num_hidden_layers > theirs.num_hidden_layers:
        raise EncoderError(
            f"student {source.name!r} has {ours.vocab_size:,} pieces and {ours.num_hidden_layers} layers, and the "
            f"teacher {theirs.vocab_size:,} and {theirs.num_hidden_layers}; a student has the teacher's vocabulary and "
            "at most as many layers"
        )
    _set_dropout(model, dropout)
    words: list[Any] = [one.get_input_embeddings() for one in (model, teacher)]
    return Student(model, started_from=None, has_embeddings=torch.equal(words[0].weight, words[1].weight))


def freeze_embeddings(model: PreTrainedModel) -> dict[str, Tensor]:
    """Freeze the tables that tokens, positions and types are looked up in; copies of them by the parameters' names."""
    tables = {f"{name}.weight": module.weight for name, module in _tables(model).items()}
    for weight in tables.values():
        weight.requires_grad = False
    return {name: weight.detach().clone() for name, weight in tables.items()}


def restore_embeddings(model: PreTrainedModel, tables: Mapping[str, Tensor]) -> None:
    """Put back what `freeze_embeddings` gave: the fast path rounds frozen weights where they are."""
    for name, tensor in tables.items():
        model.get_parameter(name).data = tensor.clone()


def _config(teacher: PretrainedConfig, shape: StudentShape) -> PretrainedConfig:
    config = copy.deepcopy(teacher)
    if shape.layers > teacher.num_hidden_layers:
        raise EncoderError(
            f"the student has {shape.layers} layers and the teacher {teacher.num_hidden_layers}; give it fewer layers"
        )
    config.num_hidden_layers = shape.layers
    narrower = shape.hidden or shape.heads or shape.intermediate
    if narrower and not hasattr(teacher, "intermediate_size"):
        raise EncoderError(
            f"a student of the type {teacher.model_type!r} can't have another width than the teacher; give only layers"
        )
    if narrower:
        hidden = shape.hidden or teacher.hidden_size
        if hidden > teacher.hidden_size:
            raise EncoderError(
                f"hidden = {hidden} is wider than the teacher's {teacher.hidden_size}; give at most that"
            )
        head = teacher.hidden_size // teacher.num_attention_heads
        config.hidden_size = hidden
        for name in _AS_WIDE:
            if getattr(teacher, name, None) == teacher.hidden_size:
                setattr(config, name, hidden)
        config.num_attention_heads = shape.heads or max(1, hidden // head)
        config.intermediate_size = shape.intermediate or teacher.intermediate_size * hidden // teacher.hidden_size
        if hidden % config.num_attention_heads:
            raise EncoderError(
                f"a hidden size of {hidden} can't be divided among {config.num_attention_heads} heads; choose heads"
            )
    return config


def _keep_of_each_layer(config: PretrainedConfig, numbers: Sequence[int]) -> None:
    """What a configuration says of each layer, such as ModernBERT's kinds of attention, for these layers."""
    layers = max(numbers) + 1
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) >= layers and name.startswith("layer"):
            setattr(config, name, [value[number] for number in numbers])


def _has_width(teacher: PretrainedConfig, student: PretrainedConfig) -> bool:
    names = ("hidden_size", "num_attention_heads", "intermediate_size")
    return all(getattr(teacher, name, None) == getattr(student, name, None) for name in names)


@torch.no_grad()
def _copy_layers(teacher: PreTrainedModel, student: PreTrainedModel, numbers: Sequence[int]) -> None:
    """Everything outside of the layers, and of the layers those of these numbers."""
    new = {number: place for place, number in enumerate(numbers)}
    weights: dict[str, Tensor] = {}
    for name, tensor in teacher.state_dict().items():
        place = place_of(name)
        if place is None:
            weights[name] = tensor
        elif place.number in new:
            weights[f"{place.layer.removesuffix(str(place.number))}{new[place.number]}.{place.inside}"] = tensor
    _load(student, weights)


def _load(student: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    try:
        missing, unexpected = student.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise EncoderError(f"the teacher's layers can't be copied into the student: {error}") from error
    if lost := [name for name in unexpected if place_of(name) is not None]:
        raise EncoderError(
            f"layers: the student has no place for the teacher's {lost[0]}, since the first layer of such an encoder "
            "has other parts than the others; begin with layer 0"
        )
    if missing := [name for name in missing if name in dict(student.named_parameters())]:
        raise EncoderError(
            f"the teacher has no copy of the student's {missing[0]}; its layers share weights or differ from each "
            "other, so give an encoder's folder as the student"
        )


def _tables(model: PreTrainedModel) -> dict[str, nn.Embedding]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Embedding)}


@torch.no_grad()
def _copy_embeddings(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """The tables and what else is outside of the layers."""
    ours = student.state_dict()
    outside = {name: tensor for name, tensor in teacher.state_dict().items() if place_of(name) is None}
    for name, tensor in outside.items():
        if name in ours and ours[name].shape == tensor.shape:
            ours[name].copy_(tensor)


@torch.no_grad()
def _project_embeddings(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """The tables, projected onto the principal directions of the words', which keep most of their inner products."""
    tables, ours = _tables(teacher), _tables(student)
    words: Any = teacher.get_input_embeddings()
    table = words.weight.double()  # (vocabulary, hidden)
    _, directions = torch.linalg.eigh(table.T @ table)  # in ascending order of the variances
    width = student.config.hidden_size
    projection = directions[:, -width:].flip(1).float()  # (hidden, width)
    for name, module in ours.items():
        shape, theirs = tuple(module.weight.shape), tables[name].weight if name in tables else None
        if theirs is None or shape[0] != len(theirs):
            continue
        if shape == theirs.shape:  # of a width of its own, such as LUKE's table of entities
            module.weight.copy_(theirs)
        elif shape[1] == width and theirs.shape[1] == len(projection):
            module.weight.copy_(theirs @ projection)


def _set_dropout(model: nn.Module, probability: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
        if isinstance(getattr(module, "attention_dropout", None), float):  # ModernBERT's attention has no such module
            module.attention_dropout = probability  # type: ignore[assignment]
