"""Everything that can be set, with its default. ``None`` means: derived, and then printed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from llm_tool.command_words import FLAGS, setting_words
from llm_tool.errors import StudioError, nearest
from llm_tool.slurm_settings import SlurmSettings
from llm_tool.text import UNWRITABLE, visible

Monitor = Literal["f1_macro", "f1_weighted", "accuracy", "val_loss"]
Precision = Literal["float32", "bfloat16"]
LongDocuments = Literal["truncate", "chunk", "exclude"]
ModeName = Literal["quick", "benchmark", "custom", "distributed", "hybrid", "reinforced"]
DEMO_DATA = "demo"
LONG_SHARE = 0.05  # of the texts longer than max_length: above, they are read in windows
MOST_DRAWN = 10.0  # how many times as often rows of a rare class are drawn at most


class TrainingSettings(BaseModel):
    """How one model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int | None = Field(None, ge=1, description="Passes over the training rows.")
    batch_size: int | None = Field(None, ge=1, description="Texts per optimiser step.")
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="Peak learning rate of AdamW, reached after the warm-up."
    )
    max_length: int | None = Field(
        None, ge=8, description="Longest text in tokens; see long_documents. Default: the model's."
    )
    long_documents: LongDocuments | None = Field(
        None,
        description="Texts longer than max_length: cut them, read them in overlapping windows, or "
        "leave them out. Default: chunk where more than 5 % of a job's texts are longer, else "
        "truncate.",
    )
    window_overlap: float = Field(
        0.25,
        ge=0,
        lt=1,
        description="Share of a window that is the end of the one before, for "
        "`long_documents: chunk`.",
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW on weight matrices.")
    warmup_share: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    monitor: Monitor = Field(
        "f1_macro", description="Validation metric that chooses the best epoch."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a better one. Default: never."
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of a job. Default: the cores, shared among the workers. Part of "
        "what is seeded.",
    )
    precision: Precision | None = Field(
        None,
        description="Arithmetic of training. Default: bfloat16 where the machine has it, else "
        "float32. Scores are always computed in float32.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="Weight of each class in the loss: all the same, or the rarer the heavier.",
    )
    oversample: Literal["none", "balanced"] = Field(
        "none",
        description="How often training rows are drawn in an epoch: once, or those of rarer "
        "classes as often as evens the classes out, 10 times at most.",
    )
    reinforced: bool | None = Field(
        None,
        description="After training, work on classes below the threshold. Default: only in the "
        "mode reinforced.",
    )
    reinforced_threshold: float = Field(
        0.6, gt=0, le=1, description="Classes with a validation F1 below this are weak."
    )
    reinforced_epochs: int = Field(2, ge=1, description="Epochs of the reinforced phase.")
    reinforced_learning_rate: float | None = Field(
        None, gt=0, le=1, description="Its peak learning rate. Default: half of learning_rate."
    )
    reinforced_oversampling: float = Field(
        2.0, ge=1, description="How many times as often it draws the rows of weak classes."
    )
    reinforced_class_weight: float = Field(
        2.0, ge=1, description="How many times as much weak classes weigh in its loss."
    )

    def resolved(self, train_rows: int, hidden_size: int) -> TrainingSettings:
        """Return the settings with epochs, batch size and learning rate derived where unset.

        Small data get more passes and smaller batches, so that there are enough steps; narrow
        models (hidden size under 512) stand, and need, a higher rate than BERT's usual 5e-5
        (Devlin et al. 2019, appendix A.3).
        """
        small = train_rows < 1000
        rate = self.learning_rate or (1.5e-4 if hidden_size < 512 else 5e-5)
        return self.model_copy(
            update={
                "epochs": self.epochs or epochs_for(train_rows),
                "batch_size": self.batch_size or (16 if small else 32),
                "learning_rate": rate,
                "reinforced_learning_rate": self.reinforced_learning_rate or rate / 2,
            }
        )


def epochs_for(train_rows: int) -> int:
    """Return the default number of epochs for a number of training rows."""
    return 3 if train_rows >= 1000 else 5


class RunConfig(SlurmSettings, TrainingSettings):
    """One run, as a flat set of keys: the same in YAML, behind ``--set`` and as flags."""

    mode: ModeName = Field("quick", description="The run mode.")
    data: str = Field(DEMO_DATA, description="The table of texts, or `demo` for the embedded one.")
    text_column: str | None = Field(None, description="Column with the texts. Default: guessed.")
    label: tuple[str, ...] = Field((), description="Label columns. Default: guessed.")
    language_column: str | None = Field(
        None,
        description="Column with the languages. Default: guessed; `none`: no such column; "
        "`detect`: found out from the texts.",
    )
    id_column: str | None = Field(
        None, description="Column with row ids. Default: guessed; `none`: row numbers."
    )
    scheme: Literal["auto", "columns", "indicators", "long", "json"] = Field(
        "auto",
        description="How the file writes its labels: columns as they are, a 0/1 column for each "
        "label, the long format, or cells of JSON. Default: recognised.",
    )
    key_column: str | None = Field(
        None, description="Column with the names of the label keys, in the long format."
    )
    value_column: str | None = Field(
        None, description="Column with the values of the label keys, in the long format."
    )
    group_column: str | None = Field(
        None, description="Rows of one group (author, outlet) stay in one part of the split."
    )
    split_column: str | None = Field(
        None, description="Column with train, validation, test. Default: guessed; `none`: split."
    )
    multi_class: tuple[str, ...] = Field(
        (), description="Label columns for which one model tells all values apart."
    )
    one_vs_all: tuple[str, ...] = Field(
        (), description="Label columns for which each value gets a yes-or-no model."
    )
    multi_class_limit: int = Field(
        20,
        ge=2,
        description="Single-valued columns with more values are trained one-vs-all, where the "
        "mode chooses by column.",
    )
    shared_encoder: bool = Field(
        False, description="One network with an output for each label, in place of one-vs-all."
    )
    encoding: str | None = Field(None, description="Encoding of the file. Default: detected.")
    delimiter: str | None = Field(None, description="Column separator. Default: detected.")
    sheet: str | None = Field(
        None,
        description="Sheet of a workbook, object of an R file or table in a ZIP. Default: the "
        "one with the most rows, of a ZIP the first.",
    )
    validation_share: float = Field(0.15, gt=0, lt=0.9, description="Share of validation rows.")
    test_share: float = Field(0.15, ge=0, lt=0.9, description="Share of test rows.")
    folds: int | None = Field(
        None,
        ge=2,
        description="Train each task so many times, each time tested on another share of the rows.",
    )
    learning_curve: bool = Field(
        False,
        description="Train also on 25, 50 and 75 % of the training rows, to see whether more "
        "labels would pay.",
    )
    near_duplicates: Literal["together", "ignore"] = Field(
        "together",
        description="Texts that are nearly the same stay in one part of the split, or may not.",
    )
    small_classes: Literal["error", "drop", "merge"] = Field(
        "error",
        description="Classes with too few rows to be in every part: stop, leave them out, or make "
        "them one class `other`.",
    )
    min_per_part: int = Field(
        1, ge=1, description="Rows of each class that every part of the split must have."
    )
    model: tuple[str, ...] = Field(
        ("embedded",),
        min_length=1,
        description="Hub id, folder or `embedded`; or LANG=MODEL for each language.",
    )
    languages: Literal["per-language", "multilingual"] | None = Field(
        None, description="One model per language, or one for all. Default: as the models say."
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Seed of split, shuffling and weights.")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(
        (), description="Train once with each of these seeds; the split stays that of `seed`."
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="Jobs trained at the same time. Default: by the plan, cores, memory and GPUs.",
    )
    executor: Literal["local", "slurm"] = Field(
        "local", description="Where jobs are trained: on this machine, or on a SLURM cluster."
    )
    processes: int = Field(
        1,
        ge=1,
        description="Processes on a node that train one job together, each on a GPU of its own.",
    )
    tracker: tuple[Literal["tensorboard", "mlflow", "trackio"], ...] = Field(
        (), description="Experiment trackers that are told every epoch, in local folders."
    )
    logs_dir: str = Field("training_logs", description="Folder of the logs.")
    models_dir: str = Field("models", description="Folder of the trained models.")
    session_id: str | None = Field(
        None, description="Add to this session. Default: a new one, named by date and time."
    )

    @field_validator("label", "model", "multi_class", "one_vs_all", "tracker", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("*")
    @classmethod
    def _texts_can_be_written(cls, value: object) -> object:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and UNWRITABLE.search(text):
                # As bytes that are not UTF-8 in a file's name are handed over by the system.
                raise ValueError(f"'{visible(text)}' is not valid Unicode, or holds a NUL")
        return value

    @field_validator("logs_dir", "models_dir")
    @classmethod
    def _folders_have_names(cls, folder: str) -> str:
        if not folder.strip():
            raise ValueError("a folder has no name")
        return folder

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_are_a_list(cls, value: object) -> object:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        elif isinstance(value, int):
            value = [value]
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is given twice")
        return seeds

    @field_validator("model")
    @classmethod
    def _models_have_names(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not all(model.strip() for model in models):
            raise ValueError("a model has no name")
        return models

    @model_validator(mode="after")
    def _shares_leave_training_rows(self) -> RunConfig:
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no training rows")
        if self.folds and self.validation_share + 1 / self.folds >= 1:
            raise ValueError(f"validation_share and {self.folds} folds leave no training rows")
        return self

    @model_validator(mode="after")
    def _settings_agree(self) -> RunConfig:
        both = set(self.multi_class) & set(self.one_vs_all)
        if both:
            raise ValueError(f"{min(both)!r} is both in multi_class and in one_vs_all")
        if (self.key_column or self.value_column) and self.scheme not in ("auto", "long"):
            raise ValueError("key_column and value_column are for the scheme long")
        if self.mode == "reinforced" and self.reinforced is False:
            raise ValueError("the mode reinforced cannot go without its reinforced phase")
        return self

    @property
    def reinforces(self) -> bool:
        """Whether weak classes are worked on after training."""
        return self.mode == "reinforced" if self.reinforced is None else self.reinforced

    @property
    def idle(self) -> tuple[str, ...]:
        """The settings that were given and do nothing where, and how, jobs are trained."""
        if self.executor == "slurm":
            return ("workers",) if self.workers else ()
        alone = self.processes > 1 and (self.workers or 1) > 1  # one job has all of them
        return (*(("workers",) if alone else ()), *self.slurm_given)

    def command(self) -> list[str]:
        """Return the words of the command line that does the same without questions."""
        # A file name that starts with a dash would be read as a flag.
        data = f"./{self.data}" if self.data.startswith("-") else self.data
        words = ["llm-tool", "train", self.mode, data]
        chosen = self.chosen()
        for name in [*FLAGS, *(name for name in chosen if name not in FLAGS)]:
            if name in {"mode", "data"} or name not in chosen:
                continue
            words += setting_words(name, chosen[name])
        return words

    def chosen(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults."""
        fields = type(self).model_fields
        return {name: value for name, value in self if value != fields[name].get_default()}


def make_config(*layers: dict[str, Any], where: str = "") -> RunConfig:
    """Return the configuration of several layers of keys; later ones win.

    Raises:
        StudioError: An unknown key (the nearest is named) or a value that does not fit.
    """
    merged = {k: v for layer in layers for k, v in layer.items()}
    known = RunConfig.model_fields
    for key in merged:
        if key not in known:
            raise StudioError(
                f"There is no setting {key!r}.", where=where, remedy=nearest(key, known)
            )
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"][:1])
        about = f"{key}: " if key else ""
        remedy = known[key].description or "" if key in known else ""
        message = first["msg"].removeprefix("Value error, ")
        raise StudioError(f"{about}{message}.", where=where, remedy=remedy) from error
