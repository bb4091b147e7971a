"""Real trainings of a tiny BERT: the loop, what it records, what it saves."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples, JobData, TokenStore, micro_batches, pad
from llm_tool.events import BatchEnded, EpochEnded, Event, JobEnded, JobStarted
from llm_tool.logs import Session, read_metrics
from llm_tool.plan import Job, Task
from llm_tool.trainers.bert_base import run_training, train_epochs
from llm_tool.trainers.checkpoint import Progress
from llm_tool.trainers.device import TOKEN_BUDGET
from llm_tool.trainers.pretrained import load_model, load_tokenizer
from llm_tool.trainers.reinforcement import normal_course
from llm_tool.trainers.scoring import is_better
from llm_tool.trainers.steps import make_steps
from tests.conftest import WORDS

CLASSES = ("bad, not good", "good")
TASK = Task("sentiment", "", CLASSES, ("EN", "FR"))
TEXTS = [
    f"the {WORDS[10 + i % 9]} was {('awful', 'fine')[i % 2]} {' '.join(WORDS[i % 13 : i % 29])}"
    for i in range(48)
]
PARTS = {"train": range(32), "validation": range(32, 40), "test": range(40, 48)}
UNREPEATABLE = ["timestamp", "seconds", "tokens_per_second"]
Kind = TypeVar("Kind")


@dataclass
class Trainer:
    """Trains in a folder of its own; keeps what was told, and every step of the optimiser."""

    source: Path
    folder: Path
    told: list[Event] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    decays: list[tuple[int, float]] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def model(
        self,
        seed: int = 1,
        *,
        sure: bool = False,
        dropout: bool = True,
        classes: Sequence[str] = CLASSES,
        multi_label: bool = False,
    ) -> Any:  # noqa: ANN401
        """Return a new classifier; one that is sure predicts the first class, come what may."""
        loaded = load_model(self.source, classes, seed, multi_label=multi_label)
        torch.manual_seed(seed)  # the tiny BERT's own weights are others in every test run
        model = type(loaded)(loaded.config)
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout) and not dropout:
                part.p = 0.0
        if sure:
            model.classifier.bias.data = torch.tensor([1.0, *[-1.0] * (len(classes) - 1)])
        return model

    def data(self, label: Callable[[int], Any] = lambda row: row % 2, **parts: range) -> JobData:
        """Return the examples of each part; ``label`` gives the label (or labels) of a row."""
        tokenizer, longest = load_tokenizer(self.source)
        store = TokenStore(tokenizer, TEXTS, longest)
        examples = {
            part: Examples(
                store.token_ids(rows),
                np.array([label(row) for row in rows], dtype=np.int64),
                ["EN" if row % 3 else "FR" for row in rows],
                rows,
                [f"t{row}" for row in rows],
            )
            for part, rows in {**PARTS, **parts}.items()
        }
        return JobData(**examples)

    def train(self, model: Any = None, *, seed: int = 1, **options: Any) -> JobEnded:  # noqa: ANN401
        names = [name for name in options if name in TrainingSettings.model_fields]
        chosen = {"epochs": 2, "threads": 1} | {name: options.pop(name) for name in names}
        about = {name: options.pop(name) for name in ("task", "labels") if name in options}
        unchecked = options.pop("unchecked", {})
        job = options.pop("job", None) or self.job(seed, **about)
        return run_training(
            model or self.model(seed, classes=job.task.classes, multi_label=bool(job.labels)),
            load_tokenizer(self.source)[0],
            options.pop("data", None) or self.data(),
            job,
            settings=TrainingSettings(**chosen).model_copy(update=unchecked),
            logs_dir=str(self.folder / "logs"),
            models_dir=str(self.folder / "models"),
            **{"on_event": self.told.append, **options},
        )

    def job(self, seed: int = 1, *, task: Task = TASK, labels: tuple[Task, ...] = ()) -> Job:
        return Job(task, str(self.source), "tiny/bert", "MULTI", seed, labels=labels)

    def heard(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def epochs(self) -> list[EpochEnded]:
        return self.heard(EpochEnded)

    @property
    def category(self) -> Path:
        """The folder of the first session's first category."""
        return min(path.parent for path in (self.folder / "logs").glob("*/*/runs"))

    def table(self, name: str = "training.csv") -> pd.DataFrame:
        return read_metrics(self.category / name)


@contextmanager
def watched(source: Path, folder: Path) -> Iterator[Trainer]:
    """Give a trainer that is told every step of the optimiser, and threads as they were after."""
    made = Trainer(source, folder)

    def watch(optimizer: torch.optim.Optimizer, *_: object) -> None:
        groups = optimizer.param_groups
        made.rates.append(groups[0]["lr"])
        made.decays = [(p.ndim, g["weight_decay"]) for g in groups for p in g["params"]]
        grads = [p.grad for g in groups for p in g["params"] if p.grad is not None]
        made.norms.append(float(torch.nn.utils.get_total_norm(grads)))

    threads = torch.get_num_threads()
    handle = register_optimizer_step_pre_hook(watch)
    try:
        yield made
    finally:
        handle.remove()
        torch.set_num_threads(threads)


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


def test_a_library_call_makes_a_session_and_prints_a_line_an_epoch(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    result = trainer.train(on_event=None, epochs=3)

    session_id = trainer.category.parent.name
    assert re.fullmatch(r"\d{8}_\d{6}", session_id)
    assert trainer.table()["epoch"].tolist() == [1, 2, 3]
    best = trainer.table("best.csv").iloc[0]
    assert best["epoch"] == result.best.epoch
    assert best["saved_model_path"] == result.saved_model_path
    saved = trainer.folder / "models" / session_id / "sentiment" / "tiny_bert-MULTI"
    assert Path(result.saved_model_path) == saved
    out, err = capsys.readouterr()
    assert out == ""
    assert re.findall(r": epoch (\d)  train_loss 0\.\d{4}  val_loss 0\.\d{4}", err) == [*"123"]
    assert len(err.splitlines()) == 5


def test_with_a_session_id_runs_add_up_and_no_model_replaces_another(trainer: Trainer) -> None:
    results = [trainer.train(session_id="20260102_120000", seed=seed) for seed in (1, 1, 2)]

    assert trainer.category.parent.name == "20260102_120000"
    assert trainer.table()["seed"].tolist() == [1, 1, 1, 1, 2, 2]
    names = [Path(result.saved_model_path).name for result in results]
    assert names == ["tiny_bert-MULTI", "tiny_bert-MULTI-j0002", "tiny_bert-MULTI-j0003"]
    assert sorted(p.name for p in Path(results[0].saved_model_path).parent.iterdir()) == names
    assert trainer.table("best.csv")["saved_model_path"].map(lambda p: Path(p).name).tolist() == (
        names
    )


def test_whoever_may_read_the_folder_may_read_the_weights(trainer: Trainer) -> None:
    saved = Path(trainer.train().saved_model_path)

    card = (saved / "README.md").stat().st_mode
    assert {path.stat().st_mode for path in saved.iterdir()} == {card}


def test_the_plan_names_the_models_not_who_is_ready_first(trainer: Trainer) -> None:
    session = Session(trainer.folder / "logs")
    with session.run([trainer.job(1), trainer.job(2)], {}, {}) as (first, second):
        results = [trainer.train(job=job, session=session) for job in (second, first)]

    names = [Path(result.saved_model_path).name for result in results]
    assert names == ["tiny_bert-MULTI-j0002", "tiny_bert-MULTI"]


def test_a_model_that_is_only_half_saved_is_taken_away(trainer: Trainer) -> None:
    model = trainer.model()

    def save_and_stop(folder: Path) -> None:
        (folder / "half").mkdir(parents=True)
        raise KeyboardInterrupt

    model.save_pretrained = save_and_stop
    with pytest.raises(KeyboardInterrupt):
        trainer.train(model)

    assert [p for p in (trainer.folder / "models").rglob("*") if p.name != "sentiment"] == [
        trainer.folder / "models" / trainer.category.parent.name
    ]
    assert trainer.table()["epoch"].tolist() == [1, 2]


def test_an_observer_sees_start_batches_epochs_and_end_in_order(trainer: Trainer) -> None:
    result = trainer.train(epochs=2, batch_size=16)

    one_epoch = [BatchEnded, BatchEnded, EpochEnded]
    assert [type(event) for event in trainer.told] == [JobStarted, *one_epoch, *one_epoch, JobEnded]
    started = trainer.told[0]
    assert isinstance(started, JobStarted)
    assert (started.train_rows, started.validation_rows, started.test_rows) == (32, 8, 8)
    assert trainer.told[-1] == result
    assert result.best in trainer.epochs


def test_the_same_seed_gives_the_same_files_and_another_one_other_numbers(
    trainer: Trainer,
) -> None:
    for seed in (1, 1, 2):
        model = trainer.model(seed)
        torch.rand(len(trainer.told) + 1)  # what was drawn before must not matter
        trainer.train(model, seed=seed, learning_rate=1e-3)

    paths = sorted((trainer.folder / "logs").glob("*/sentiment/training.csv"))
    first, second, other = (read_metrics(path).drop(columns=UNREPEATABLE) for path in paths)
    pd.testing.assert_frame_equal(first, second)
    assert not (first["train_loss"] == other["train_loss"]).any()


def loss_of_transformers(model: Any, inputs: dict[str, Any], labels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    """Return what the model's own class calls the loss of a batch."""
    loss: torch.Tensor = model(**inputs, labels=labels.float() if labels.ndim > 1 else labels).loss
    return loss


def weighted_loss(model: Any, inputs: dict[str, Any], labels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    """Return torch's own loss in which the second class weighs three times as much."""
    return cross_entropy(model(**inputs).logits, labels, weight=torch.tensor([1.0, 3.0]))


@pytest.mark.parametrize(
    ("label", "weight", "reference"),
    [
        (lambda row: row % 2, 1, loss_of_transformers),
        (lambda row: row % 5 == 0, 3, weighted_loss),
        (lambda row: (row % 2, row % 3 == 0), 1, loss_of_transformers),
    ],
    ids=["classes", "weighted classes", "labels"],
)
def test_the_gradient_of_the_pieces_is_the_one_of_the_whole_batch(
    trainer: Trainer, label: Callable[[int], Any], weight: int, reference: Callable[..., Any]
) -> None:
    tokenizer, train = load_tokenizer(trainer.source)[0], trainer.data(label, train=range(48)).train
    assert len(micro_batches(range(48), train.lengths, TOKEN_BUDGET["cpu"])) > 1
    model = trainer.model(sure=True, dropout=False, multi_label=train.labels.ndim > 1)
    whole = copy.deepcopy(model)
    ids, mask = map(torch.from_numpy, pad(train.token_ids, tokenizer.pad_token_id))
    labels = torch.from_numpy(train.labels)
    reference(whole, {"input_ids": ids, "attention_mask": mask}, labels).backward()

    seen: dict[str, torch.Tensor] = {}

    def keep(*_: object) -> None:
        seen.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    handle = register_optimizer_step_pre_hook(keep)
    settings = TrainingSettings(epochs=1, batch_size=48, learning_rate=1e-5, max_grad_norm=1e9)
    job = Job(TASK, "m", "m", seed=1)
    weights = np.where(train.labels == 1, weight, 1).astype(np.float32)
    course = replace(normal_course(train, settings), weights=weights)
    steps = make_steps(model, course, settings)
    progress = Progress(TOKEN_BUDGET["cpu"], "float32")
    list(
        train_epochs(
            model, tokenizer, train, course, settings, job, lambda _: None,
            steps=steps, progress=progress,
        )
    )  # fmt: skip
    handle.remove()

    assert len(trainer.norms) == 1
    assert max(float(gradient.abs().max()) for gradient in seen.values()) > 1e-3
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(seen[name], parameter.grad, atol=1e-6, rtol=0, msg=name)


def test_the_saved_model_is_the_one_of_the_best_epoch(trainer: Trainer) -> None:
    result = trainer.train(trainer.model(sure=True), epochs=4, learning_rate=1e-2, batch_size=16)

    assert result.best.epoch == 1  # the sure model's F1 stays equal, and equal does not beat
    losses = [epoch.val_loss for epoch in trainer.epochs]
    assert [epoch.is_best for epoch in trainer.epochs] == [True, False, False, False]
    logits, _ = predictions(result, PARTS["validation"])
    loss = float(cross_entropy(logits, torch.tensor([row % 2 for row in PARTS["validation"]])))
    assert loss == pytest.approx(losses[0], abs=1e-6)
    assert min(abs(loss - other) for other in losses[1:]) > 1e-3


def predictions(result: JobEnded, rows: range) -> tuple[torch.Tensor, list[str]]:
    """Return what plain transformers make of the texts of rows with the saved folder."""
    tokenizer = AutoTokenizer.from_pretrained(result.saved_model_path)
    model = AutoModelForSequenceClassification.from_pretrained(result.saved_model_path)
    batch = tokenizer([TEXTS[row] for row in rows], padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits
    return logits, [model.config.id2label[i] for i in logits.argmax(dim=1).tolist()]


def test_plain_transformers_predict_what_was_recorded(trainer: Trainer) -> None:
    result = trainer.train(epochs=3, learning_rate=1e-2)

    recorded = pd.read_parquet(trainer.category / "runs" / "j0001" / "predictions.parquet")
    assert recorded["row"].tolist() == [*PARTS["validation"], *PARTS["test"]]
    assert recorded["part"].tolist() == ["validation"] * 8 + ["test"] * 8
    assert recorded["true"].tolist() == [CLASSES[row % 2] for row in range(32, 48)]
    logits, names = predictions(result, range(32, 48))
    assert recorded["predicted"].tolist() == names
    shares = recorded[[f"probability_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(shares, torch.softmax(logits, dim=1).numpy(), atol=1e-5)
    test = recorded[recorded["part"] == "test"]
    assert result.test is not None
    assert result.test.accuracy == (test["true"] == test["predicted"]).mean()
    config = AutoModelForSequenceClassification.from_pretrained(result.saved_model_path).config
    assert config.id2label == dict(enumerate(CLASSES))
    assert config.label2id == {name: i for i, name in enumerate(CLASSES)}


@pytest.mark.parametrize("monitor", ["f1_macro", "f1_weighted", "accuracy", "val_loss"])
def test_the_best_epoch_is_the_earliest_best_of_what_is_monitored(
    trainer: Trainer, monitor: str
) -> None:
    result = trainer.train(
        epochs=8, learning_rate=0.005, batch_size=2, warmup_share=0.0, monitor=monitor
    )

    column = trainer.table()[monitor]
    assert column.nunique() > 1
    best = column.idxmin() if monitor == "val_loss" else column.idxmax()
    assert result.best.epoch == best + 1
    assert trainer.table("best.csv")["selection_metric"].tolist() == [monitor]
    assert trainer.table("best.csv")["selection_value"].tolist() == [column[best]]


@pytest.mark.parametrize(
    ("monitor", "better"),
    [
        ("f1_macro", False),
        ("accuracy", False),
        ("val_loss", True),
        ("mean_f1_macro", False),
        ("mean_val_loss", True),
    ],
)
def test_only_a_strictly_better_value_beats(monitor: str, better: bool) -> None:
    assert is_better(0.4, 0.5, monitor) is better
    assert is_better(0.5, 0.4, monitor) is not better
    assert is_better(0.5, 0.5, monitor) is False
    assert is_better(math.nan, 0.5, monitor) is False


@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 3), (None, 5)])
def test_patience_is_how_many_epochs_without_a_better_one_are_waited_for(
    trainer: Trainer, patience: int | None, epochs: int
) -> None:
    result = trainer.train(trainer.model(sure=True), epochs=5, patience=patience)

    assert len(trainer.epochs) == len(trainer.table()) == epochs
    assert result.best.epoch == 1
