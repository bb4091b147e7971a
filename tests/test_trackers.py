"""Trackers: what TensorBoard, MLflow and trackio themselves read of a run; no epoch twice."""

from __future__ import annotations

import json
import math
import socket
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from llm_tool import trackers
from llm_tool.cli import training
from llm_tool.config import make_config
from llm_tool.errors import StudioError
from llm_tool.events import JobFailed, JobStarted, RunEnded, RunStarted
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.categories import assign_folders
from llm_tool.logs.journal import append
from llm_tool.modes.planning import prepare
from llm_tool.observers import in_order, shielded
from llm_tool.plan import Job, Task
from llm_tool.stopping import Detached
from llm_tool.studio.runs import execute
from llm_tool.trackers import look_commands, mlflow_store
from llm_tool.trackers.mlflow_store import metric_names
from llm_tool.trackers.tracking import Store, Tracking
from tests.conftest import tweets_csv
from tests.test_events import made_end, made_epoch, made_job

TRACKERS = ("tensorboard", "mlflow", "trackio")
SESSION = "20260101_000000"
PACKAGES = ("tensorboard", "mlflow", "sqlalchemy", "alembic", "trackio")
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, PACKAGES)), reason="the extras of the trackers are not installed"
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on every connection: a tracker that calls home is a broken tracker."""
    monkeypatch.setattr(socket.socket, "connect", lambda *to: pytest.fail(f"connects to {to}"))
    monkeypatch.setattr(socket.socket, "bind", lambda *to: pytest.fail(f"serves {to}"))


@dataclass
class Seen:
    """What a tracker's own reader says of one run: each metric's values by epoch."""

    metrics: dict[str, dict[int, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    settings: dict[str, str] = field(default_factory=dict)
    status: str = ""


Runs = dict[tuple[str, str], Seen]


def seen_by_tensorboard(logs: Path) -> Runs:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import (  # fmt: skip
        SESSION_START_INFO_TAG,
        parse_session_start_info_plugin_data,
    )

    runs: Runs = {}
    for folder in (logs / SESSION / "tensorboard").glob("*/*"):
        read = EventAccumulator(str(folder)).Reload()
        seen = runs[folder.parent.name, folder.name] = Seen()
        for tag in read.Tags()["scalars"]:
            for point in read.Scalars(tag):
                seen.metrics[tag.removeprefix("end/")][point.step].append(point.value)
        content = read.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
        told = parse_session_start_info_plugin_data(content).hparams
        seen.settings = {name: value.string_value for name, value in told.items()}
        if "status/text_summary" in read.Tags()["tensors"]:
            (status,) = read.Tensors("status/text_summary")
            seen.status = status.tensor_proto.string_val[0].decode()
    return runs


def seen_by_mlflow(logs: Path) -> Runs:
    from mlflow import MlflowClient

    store = f"sqlite:///{logs / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    runs: Runs = {}
    for experiment in client.search_experiments(filter_string=f"name LIKE '{SESSION}/%'"):
        for run in client.search_runs([experiment.experiment_id]):
            key = run.data.tags["category"], run.data.tags["llm_tool.job"]
            assert key not in runs  # the earlier attempts are deleted
            seen = runs[key] = Seen(settings=run.data.params)
            for name in run.data.metrics:
                for point in client.get_metric_history(run.info.run_id, name):
                    seen.metrics[name][point.step].append(point.value)
            ended = {"FINISHED": "done", "FAILED": "failed", "KILLED": "interrupted"}
            seen.status = ended.get(run.info.status, run.info.status)
    return runs


def seen_by_trackio(logs: Path) -> Runs:
    from trackio import SQLiteStorage, sqlite_storage

    vars(sqlite_storage)["TRACKIO_DIR"] = logs / "trackio"
    runs: Runs = {}
    for known in SQLiteStorage.get_run_records(SESSION):
        category, job = str(known["id"]).split("/")
        config = SQLiteStorage.get_run_config(SESSION, known["name"], run_id=known["id"]) or {}
        assert config["_Group"] == category
        seen = runs[category, job] = Seen(settings=config, status=config["status"])
        for row in SQLiteStorage.get_logs(SESSION, known["name"], run_id=known["id"]):
            for name, value in row.items():
                if name not in ("step", "timestamp"):
                    seen.metrics[name][row["step"]].append(float(value))
    return runs


READERS: dict[str, Callable[[Path], Runs]] = {
    "tensorboard": seen_by_tensorboard,
    "mlflow": seen_by_mlflow,
    "trackio": seen_by_trackio,
}


@pytest.fixture(scope="module")
def trained(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the logs of two trainings that all trackers were told of."""
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    config = make_config(
        {
            "data": str(folder / "tweets.csv"),
            "label": ("sentiment", "topic"),
            "model": str(tiny_bert),
            "languages": "multilingual",
            "test_share": 0.3,
            "epochs": 2,
            "workers": 1,
            "threads": 1,
            "tracker": TRACKERS,
            "logs_dir": str(folder / "training_logs"),
            "models_dir": str(folder / "models"),
            "session_id": SESSION,
        }
    )
    dataset, plan = prepare(config)
    console = Console(file=StringIO())
    outcome = execute(plan, dataset, config, Session(config.logs_dir, SESSION),
                      talk=console, out=console)  # fmt: skip
    assert not outcome.failed
    said = console.file.getvalue()
    for command in look_commands(config, Session(config.logs_dir, SESSION)).values():
        assert command in said
    return folder / "training_logs"


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_has_every_epoch_that_the_csv_has(trained: Path, name: str) -> None:
    runs = READERS[name](trained)

    assert sorted(runs) == [("sentiment", "j0001"), ("topic", "j0002")]
    for (category, job), seen in runs.items():
        table = read_metrics(trained / SESSION / category / "training.csv")
        assert set(table["model_identifier"]) == {job}
        for column in ("train_loss", "val_loss", "f1_macro", "accuracy", "learning_rate"):
            told = {epoch: values for epoch, values in seen.metrics[column].items()}
            assert told == {
                row.epoch: [pytest.approx(getattr(row, column), rel=1e-4)]
                for row in table.itertuples()
            }
        assert set(seen.metrics["tokens_per_second"]) == {1, 2}
        for one in (name for name in table.columns if name.startswith("f1_")):
            if one not in ("f1_macro", "f1_weighted"):
                assert set(seen.metrics[f"f1/{one[3:]}"]) <= {1, 2}
        best = read_metrics(trained / SESSION / category / "best.csv").iloc[0]
        assert seen.metrics["test_f1_macro"] == {
            best["epoch"]: [pytest.approx(best["test_f1_macro"], rel=1e-4)]
        }
        assert seen.status == "done"


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_knows_the_settings_of_each_job(trained: Path, name: str) -> None:
    seen = READERS[name](trained)["topic", "j0002"]

    expected = {"epochs": "2", "model": "tiny-bert", "label_key": "topic", "seed": "42"}
    expected |= {"test_share": "0.3", "classes": "climate, health, law", "batch_size": "16"}
    assert {key: seen.settings.get(key) for key in expected} == expected
    assert "logs_dir" not in seen.settings


def test_the_logs_folder_lists_its_sessions_beside_the_databases(trained: Path) -> None:
    from llm_tool.logs.overview import list_sessions

    assert [one.id for one in list_sessions(trained)] == [SESSION]
    names = {one.name for one in trained.iterdir() if not one.name.startswith(".")}
    assert names == {SESSION, "mlflow.db", "trackio"}


def test_the_run_remembers_its_trackers_and_the_command_names_them(trained: Path) -> None:
    facts = json.loads((trained / SESSION / "session.json").read_text("utf-8"))
    assert facts["runs"][0]["config"]["tracker"] == list(TRACKERS)
    words = make_config({"tracker": "mlflow"}).command()
    assert words == ["llm-tool", "train", "quick", "demo", "--tracker", "mlflow"]


# What is taken back, retried, stopped: by hand-made events, recorded as real ones are.


@pytest.fixture(scope="module")
def logs(trained: Path) -> Path:
    """Return the folder of all hand-made sessions: a new MLflow database takes seconds."""
    return trained


@pytest.fixture
def session(logs: Path) -> Session:
    import shutil

    shutil.rmtree(logs / SESSION, ignore_errors=True)
    for path in (logs / "trackio").glob("*"):
        path.unlink()
    return Session(logs, SESSION)


def started(job: Job, after: int = 0) -> JobStarted:
    plain = JobStarted(
        job, "20260102_030405", 26, 10, 24, 3, 8, 0.1, 64, 0, "f1_macro", "cpu", "float32", 1000
    )  # fmt: skip
    return replace(plain, resumed_from=after)


def tracking(name: str, session: Session, **settings: object) -> Tracking:
    return Tracking(trackers._store(name, session), session, {"epochs": 3, **settings})


@pytest.mark.parametrize("name", TRACKERS)
def test_epochs_that_a_resumed_job_takes_back_are_not_there_and_none_is_twice(
    session: Session, name: str
) -> None:
    category = f"resumed-{name}"
    task = Task(category, "", ("a", "b"), ("EN",))
    with session.run([made_job(id="", task=task)], {}, {}) as (job,):
        tell = in_order(session.record, tracking(name, session))
        for epoch in (started(job), *(made_epoch(job, n, f1=0.1 * n) for n in (1, 2, 3))):
            tell(epoch)
        tell(RunEnded(session.id, "interrupted", 1, 0, 0, 1.0))
    first = READERS[name](session.logs_dir)[category, job.id]
    assert (set(first.metrics["f1_macro"]), first.status) == ({1, 2, 3}, "interrupted")

    again = Session(session.logs_dir, session.id)  # as another process
    with again.rerun(0) as (job,):
        tell = in_order(again.record, tracking(name, again))
        tell(started(job, after=1))
        tell(made_epoch(job, 2, f1=0.7))
        tell(made_end(made_epoch(job, 2, f1=0.7)))

    seen = READERS[name](session.logs_dir)[category, job.id]
    assert dict(seen.metrics["f1_macro"]) == {1: [pytest.approx(0.1)], 2: [pytest.approx(0.7)]}
    assert seen.status == "done"


@pytest.mark.parametrize("name", TRACKERS)
def test_what_jobs_on_a_cluster_did_while_nobody_followed_them_is_told_afterwards(
    session: Session, name: str
) -> None:
    category = f"followed-{name}"
    task = Task(category, "", ("a", "b"), ("EN",))
    planned = [made_job(id="", task=task), made_job(id="", task=task, seed=2)]
    with suppress(Detached), session.run(planned, {"executor": "slurm"}, {}) as (ended, runs):
        tell = in_order(session.record, tracking(name, session, executor="slurm"))
        for job in (ended, runs):
            tell(started(job))
            tell(made_epoch(job, 1, f1=0.1))
        tell(RunEnded(session.id, "detached", 2, 0, 0, 1.0))
        raise Detached
    left = READERS[name](session.logs_dir)[category, runs.id]
    assert left.status == {"mlflow": "RUNNING"}.get(name, "detached")
    end = made_end(made_epoch(ended, 2, f1=0.7))
    for event in (end.best, end):  # by the job itself
        append(session.run_folder(ended), event)

    again = Session(session.logs_dir, session.id)
    with again.rerun(0) as jobs:
        tell = in_order(again.record, tracking(name, again, executor="slurm"))
        tell(RunStarted(session.id, "quick", "logs", "models", jobs, done=(end,)))
        tell(made_epoch(runs, 2, f1=0.3))

    seen = READERS[name](session.logs_dir)
    numbers = {job: dict(seen[category, job].metrics["f1_macro"]) for job in (ended.id, runs.id)}
    assert numbers == {
        ended.id: {1: [pytest.approx(0.1)], 2: [pytest.approx(0.7)]},
        runs.id: {1: [pytest.approx(0.1)], 2: [pytest.approx(0.3)]},
    }
    assert seen[category, ended.id].status == "done"
    assert seen[category, runs.id].settings["batch_size"] == "8"


@pytest.mark.parametrize("name", TRACKERS)
def test_jobs_that_are_trained_at_once_and_the_labels_of_one_encoder_have_runs_of_their_own(
    session: Session, name: str
) -> None:
    labels = tuple(Task("k", f"{name}{n}", ("no", "yes"), ("EN",)) for n in (1, 2))
    whole = made_job(id="", task=Task("k", "", tuple(t.label_value for t in labels)), labels=labels)
    other = made_job(id="", task=labels[0])
    with session.run([whole, other], {}, {}) as (shared, single):
        tell = in_order(session.record, tracking(name, session))
        epochs = tuple(made_epoch(shared.of(one), f1=n / 4) for n, one in enumerate(labels, 1))
        epoch = replace(made_epoch(shared), labels=epochs)
        for event in (
            started(shared), started(single), epoch, made_epoch(single, f1=0.9),
            replace(made_end(epoch), labels=tuple(map(made_end, epochs))),
            JobFailed(single, "the disk burnt"),
        ):  # fmt: skip
            tell(event)

    runs = READERS[name](session.logs_dir)
    f1 = {key: dict(seen.metrics["f1_macro"]) for key, seen in runs.items() if key[0][:-1] == name}
    assert f1 == {
        (f"{name}1", shared.id): {1: [pytest.approx(0.25)]},
        (f"{name}2", shared.id): {1: [pytest.approx(0.5)]},
        (f"{name}1", single.id): {1: [pytest.approx(0.9)]},
    }
    assert runs[f"{name}1", single.id].status == "failed"


@pytest.mark.parametrize("name", TRACKERS)
def test_names_and_numbers_of_any_kind_are_taken(session: Session, name: str) -> None:
    classes = ("a/../b", "..", "ü b", "<i>x|y", "", "a?", "a!", "x" * 400, "%s{}", "a\nb\x1b")
    task = Task(f"odd {name} [x]\n", "", classes, ("EN",))
    with session.run([made_job(id="", task=task, model_name="m'; --\n")], {}, {}) as (job,):
        tell = in_order(session.record, tracking(name, session))
        tell(started(job))
        tell(made_epoch(job, train_loss=math.nan))
        tell(made_end(made_epoch(job)))

    category = session.category_name(task)
    seen = READERS[name](session.logs_dir)[category, job.id]
    assert sum(metric.startswith("f1/") for metric in seen.metrics) == len(classes)
    (loss,) = seen.metrics["train_loss"][1]
    assert math.isnan(loss)


def test_names_that_mlflow_does_not_take_stay_apart() -> None:
    names = metric_names(dict.fromkeys(["f1/a?", "f1/a!", "f1/..", "f1/a/b", "val_loss"], 0.0))
    assert names == ["f1/a_", "f1/a_ 2", "f1/_", "f1/a_b", "val_loss"]


def test_a_database_that_is_stopped_while_it_is_made_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(database: Path) -> None:
        database.write_bytes(b"half a database")
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_store, "_client_of", stop)
    with pytest.raises(KeyboardInterrupt):
        _ = mlflow_store.MlflowStore(tmp_path)._client
    assert [one.name for one in tmp_path.iterdir()] == [".mlflow.db.lock"]


class _Broken(Store):
    def begin(self, *_: object) -> None:
        """Be there."""

    def log(self, *_: object) -> None:
        raise OSError("the tracker's disk is full")


def test_a_tracker_that_fails_costs_no_row(tmp_path: Path) -> None:
    session = Session(tmp_path, SESSION)
    with session.run([made_job(id="", identifier="")], {}, {}) as (job,):
        seen: list[object] = []
        show = shielded(Tracking(_Broken(), session, {}), seen.append)
        tell = in_order(session.record, show)
        for event in (started(job), made_epoch(job), made_epoch(job, 2)):
            tell(event)

    assert len(seen) == 3
    assert len(read_metrics(tmp_path / SESSION / "sentiment" / "training.csv")) == 2


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_an_error_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(StudioError, match=f"tracker {name} is not installed") as caught:
        training.run({"tracker": name, "logs_dir": str(tmp_path / "logs")}, False, False)
    assert f'pip install "llm-tool[{name}]"' in caught.value.remedy
    assert not (tmp_path / "logs").exists()


def test_a_tracker_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(StudioError, match="tracker"):
        make_config({"tracker": "wandb"})


def test_a_category_called_tensorboard_has_another_folder() -> None:
    (category,) = assign_folders([], [Task("tensorboard", "", ("a", "b"))])
    assert category["folder"] != "tensorboard"
