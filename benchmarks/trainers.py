"""The two rivals in training: the thesis's scripts, and what somebody who knows `Trainer` well makes of them today."""

import tempfile
from typing import Any, Literal

from peft import LoraConfig, TaskType, get_peft_model
from torch import nn
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.clock import Clock
from benchmarks.documents import PAD, StepDocuments
from benchmarks.models import device, random_classifier, word_tokenizer
from benchmarks.scale import BATCH_SIZE, Shape
from tanzaku.machine import describe_machine
from tanzaku.methods.peft_adapter import quiet_peft

MethodName = Literal["lora", "full"]

THESIS_RANK = 8
THESIS_DROPOUT = 0.1
# The script's for LoRA, and `Trainer`'s own for full fine-tuning; neither changes the seconds.
_LEARNING_RATES: dict[str, float] = {"lora": 5e-4, "full": 5e-5}


class _Clocked(TrainerCallback):
    """Runs a clock from the end of the warm-up step to the end of the last one."""

    def __init__(self, clock: Clock, *, steps: int) -> None:
        self._clock, self._steps = clock, steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self._clock.begin()
        elif state.global_step == 1 + self._steps:
            self._clock.end()


def trainer_seconds(
    shape: Shape, method: MethodName, documents: StepDocuments, *, max_tokens: int, clock: Clock | None = None
) -> float:
    """Seconds a step of the thesis's scripts (A.2 for full fine-tuning, A.3 for LoRA).

    `Trainer` with its defaults, batches of 8, float32, every text padded to the full length when it is tokenized; LoRA
    by PEFT's defaults for BERT (query and value) with α = r = 8 and dropout 0.1. Evaluation and saving at the end of an
    epoch are no part of a step.
    """
    rows = []
    for ids, label in zip(documents.ids, documents.classes.tolist(), strict=True):
        padding = max_tokens - len(ids)
        rows.append(
            {
                "input_ids": [*ids.tolist(), *[PAD] * padding],
                "token_type_ids": [0] * max_tokens,
                "attention_mask": [1] * len(ids) + [0] * padding,
                "labels": label,
            }
        )
    return _seconds(
        _model(shape, method, max_tokens), method, rows, arguments={}, collator=None, clock=clock or Clock()
    )


def tuned_trainer_seconds(
    shape: Shape, method: MethodName, documents: StepDocuments, *, max_tokens: int, clock: Clock | None = None
) -> float:
    """Seconds a step of the same scripts after an afternoon with the manual.

    bfloat16 where the machine computes it natively, batches padded to their longest document, documents of like length
    together. The rows come in the order that `train_sampling_strategy="group_by_length"` gives a whole epoch; asked to
    group so few, it would leave them as they are.
    """
    rows = [
        {"input_ids": documents.ids[place].tolist(), "labels": int(documents.classes[place])}
        for place in documents.grouped
    ]
    machine = describe_machine()
    native = machine.gpu_bfloat16 if device().type == "cuda" else machine.cpu_bfloat16
    return _seconds(
        _model(shape, method, max_tokens),
        method,
        rows,
        arguments={"bf16": bool(native), "train_sampling_strategy": "sequential"},
        collator=DataCollatorWithPadding(word_tokenizer(shape.vocabulary, max_tokens=max_tokens)),
        clock=clock or Clock(),
    )


def _model(shape: Shape, method: MethodName, max_tokens: int) -> nn.Module:
    model: nn.Module = random_classifier(shape, dropout=THESIS_DROPOUT, max_tokens=max_tokens)
    if method == "full":
        return model
    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=THESIS_RANK, lora_alpha=THESIS_RANK, lora_dropout=THESIS_DROPOUT)
    with quiet_peft():
        adapted: nn.Module = get_peft_model(model, config)
    return adapted


def _seconds(
    model: nn.Module,
    method: MethodName,
    rows: list[dict[str, Any]],
    *,
    arguments: dict[str, Any],
    collator: Any,
    clock: Clock,
) -> float:
    steps = len(rows) // BATCH_SIZE - 1
    clocked = _Clocked(clock, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            logging_steps=10,
            learning_rate=_LEARNING_RATES[method],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=device().type == "cpu",
            dataloader_pin_memory=device().type == "cuda",
            **arguments,
        )
        trainer = Trainer(model=model, args=settings, train_dataset=rows, data_collator=collator, callbacks=[clocked])
        for printer in (PrinterCallback, ProgressCallback):  # standard output is the record's
            trainer.remove_callback(printer)
        trainer.train()
    return clock.seconds / steps
