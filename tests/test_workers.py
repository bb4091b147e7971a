"""Jobs in processes of their own: the same files, and a worker that dies costs only its job."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import psutil
import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import load_dataset
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    Event,
    JobFailed,
    JobStarted,
    RunEnded,
    RunStarted,
)
from llm_tool.execution.local import Outcome
from llm_tool.execution.workers import train_in_workers
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.journal import read_events
from llm_tool.plan import Parts
from tests.conftest import tweets_csv
from tests.test_events import made_job
from tests.test_local_run import UNREPEATABLE, Runner, spoil_weights

LANGUAGES = ("EN={tiny}", "FR={tiny}")
MODES: dict[str, dict[str, Any]] = {
    "quick": {"label": ("sentiment", "topic"), "model": ("{tiny}",)},
    "benchmark": {"label": ("sentiment",), "model": ("{tiny}", "{other}"), "seeds": (1, 2)},
    "custom": {
        "label": ("topic", "areas"),
        "model": ("{tiny}",),
        "one_vs_all": ("topic",),
        "class_weights": "balanced",
        "small_classes": "drop",
    },
    "distributed": {"label": ("areas",), "model": ("{tiny}",)},
    "shared": {
        "mode": "distributed",
        "label": ("areas",),
        "model": LANGUAGES,
        "shared_encoder": True,
        "small_classes": "drop",
    },
    "hybrid": {"label": ("sentiment", "areas"), "model": ("{tiny}",), "reinforced": True},
    "reinforced": {"label": ("sentiment",), "model": LANGUAGES, "reinforced_threshold": 1.0},
}


class Twice(NamedTuple):
    """The same run with one worker and with two."""

    one: Runner
    two: Runner


@pytest.fixture(scope="module", params=MODES)
def twice(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path
) -> Twice:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    other = shutil.copytree(tiny_bert, folder / "other-bert")
    keys = {"mode": request.param, **MODES[request.param], "epochs": 1, "learning_rate": 1e-3}
    models = tuple(m.format(tiny=tiny_bert, other=other) for m in keys.pop("model"))
    runners = []
    for workers in (1, 2):
        made = Runner(folder / str(workers), folder / "tweets.csv", models)
        made.run(**keys, workers=workers)
        runners.append(made)
    return Twice(*runners)


def started(runner: Runner) -> RunStarted:
    event = runner.told[0]
    assert isinstance(event, RunStarted)
    return event


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_two_workers_leave_the_same_folders_as_one(twice: Twice) -> None:
    assert [started(runner).workers for runner in twice] == [1, 2]
    assert len(started(twice.one).jobs) > 1
    assert [runner.status() for runner in twice] == ["done", "done"]
    runs = [json.loads((run.session / "session.json").read_text("utf-8"))["runs"] for run in twice]
    assert [(run["config"]["workers"], run["config"]["threads"]) for (run,) in runs] == [
        *((1, 1), (2, 1))
    ]
    assert tree(twice.one.session) == tree(twice.two.session)
    models = [runner.folder / "models" / runner.session.name for runner in twice]
    assert tree(models[0]) == tree(models[1])
    weights = sorted(path.relative_to(models[0]) for path in models[0].rglob("*.safetensors"))
    assert len(weights) == len(started(twice.one).jobs)
    for path in weights:
        assert (models[0] / path).read_bytes() == (models[1] / path).read_bytes(), path


def comparable(runner: Runner, path: Path) -> pd.DataFrame:
    """Return a table without what no two runs share; paths of models from the session's on."""
    table = read_metrics(path)
    if "saved_model_path" in table:
        root = runner.folder / "models" / runner.session.name
        table["model"] = [str(Path(p).relative_to(root)) for p in table["saved_model_path"]]
    return table.drop(columns=UNREPEATABLE, errors="ignore")


def test_two_workers_record_the_same_numbers_as_one(twice: Twice) -> None:
    names = [Path(name) for name in tree(twice.one.session)]
    tables = [name for name in names if name.suffix == ".csv"]
    assert len(tables) == 2 * len({task for job in started(twice.one).jobs for task in job.tasks})
    for name in tables:
        one, two = (comparable(run, run.session / name) for run in twice)
        pd.testing.assert_frame_equal(one, two, check_exact=True)
        heads = [(run.session / name).read_text("utf-8").splitlines()[:5] for run in twice]
        assert heads[0] == heads[1]
    for name in (name for name in names if name.suffix == ".parquet"):
        one, two = (pd.read_parquet(run.session / name) for run in twice)
        pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_of_each_job_the_same_is_told_in_the_same_order(twice: Twice) -> None:
    def stories(runner: Runner) -> dict[str, list[str]]:
        told = [e for e in runner.told if not isinstance(e, RunStarted | RunEnded)]
        jobs = started(runner).jobs
        return {job.id: [e.event for e in told if e.job.id == job.id] for job in jobs}

    assert stories(twice.one) == stories(twice.two)
    if started(twice.one).mode in ("reinforced", "hybrid"):
        assert "reinforcement_started" in {e.event for e in twice.two.told}
    ends = [runner.told[-1] for runner in twice]
    assert [(e.status, e.done, e.failed) for e in ends if isinstance(e, RunEnded)] == [
        ("done", len(started(twice.one).jobs), 0)
    ] * 2


def first_started() -> Any:  # noqa: ANN401
    """Return the worker that was started first, and so has the first job."""
    return min(multiprocessing.active_children(), key=lambda process: process.name)


@dataclass
class Troubled:
    """A run of four jobs: one worker is killed at its first job, and two jobs have no model."""

    runner: Runner
    outcome: Outcome
    recorded_when_shown: list[bool]
    left_over: list[Any] = field(default_factory=list)

    def journal(self, job_id: str) -> list[Event]:
        (path,) = self.runner.session.glob(f"*/runs/{job_id}/journal.jsonl")
        return list(read_events(path))


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Troubled:
    folder = tmp_path_factory.mktemp("troubled")
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    broken = shutil.copytree(tiny_bert, folder / "broken")
    spoil_weights(broken)
    runner = Runner(folder, folder / "tweets.csv", (f"EN={tiny_bert}", f"FR={broken}"))
    recorded = []

    def observe(event: Event) -> None:
        if isinstance(event, EpochEnded):
            table = read_metrics(runner.session / event.job.task.category / "training.csv")
            own = table[table["model_identifier"] == event.job.id]
            recorded.append(event.epoch in own["epoch"].tolist())
            if (event.job.id, event.epoch) == ("j0001", 1):
                os.kill(first_started().pid, signal.SIGKILL)

    outcome = runner.run(observe, label=("sentiment", "topic"), epochs=8, workers=2)
    return Troubled(runner, outcome, recorded, multiprocessing.active_children())


def test_a_worker_that_is_killed_costs_its_job_and_no_other(troubled: Troubled) -> None:
    failed = troubled.outcome.failed[0]
    assert failed.job.id == "j0001"
    assert failed.what == "The worker process ended unexpectedly (killed by signal 9)."
    assert "--workers" in failed.remedy
    (done,) = troubled.outcome.done
    assert (done.job.id, done.job.task.category) == ("j0003", "topic")
    assert Path(done.saved_model_path, "model.safetensors").is_file()
    assert len(troubled.runner.table(category="topic")) == 8


def test_what_a_killed_worker_recorded_is_kept(troubled: Troubled) -> None:
    journal = troubled.journal("j0001")
    told = [
        e for e in troubled.runner.told if not isinstance(e, BatchEnded | RunStarted | RunEnded)
    ]
    own = [event for event in told if event.job.id == "j0001"]
    assert isinstance(own[0], JobStarted)
    assert isinstance(own[1], EpochEnded)
    assert own[-1] == troubled.outcome.failed[0] == journal[-1]
    assert journal[: len(own) - 1] == own[:-1]
    epochs = [event.epoch for event in journal if isinstance(event, EpochEnded)]
    assert epochs == list(range(1, len(epochs) + 1))
    assert 1 <= len(epochs) < 8
    table = troubled.runner.table()
    assert table.loc[table["model_identifier"] == "j0001", "epoch"].tolist()[:1] == [1]
    assert troubled.runner.table("best.csv")["saved_model_path"].tolist() == [""]


def test_a_job_that_fails_in_a_worker_is_reported_and_the_others_go_on(troubled: Troubled) -> None:
    failed = troubled.outcome.failed[1:]
    assert [one.job.id for one in failed] == ["j0002", "j0004"]
    for one in failed:
        assert "cannot be loaded" in one.what
        assert one.where == one.job.model
        assert troubled.journal(one.job.id) == [one]
        assert one in troubled.runner.told


def test_a_run_with_failures_says_so_and_leaves_no_process(troubled: Troubled) -> None:
    assert troubled.runner.status() == "failed"
    end = troubled.runner.told[-1]
    assert isinstance(end, RunEnded)
    assert (end.status, end.done, end.failed) == ("failed", 1, 3)
    assert troubled.left_over == []


def test_a_row_is_recorded_before_its_owner_hears_of_it(troubled: Troubled) -> None:
    assert len(troubled.recorded_when_shown) >= 9
    assert all(troubled.recorded_when_shown)


@dataclass
class Spell:
    """Does something to the process that unpickles it, which is a worker at its start."""

    code: str

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (self.code,)


def test_a_worker_that_dies_before_it_takes_its_job_costs_that_job_only(
    tmp_path: Path, tweets: Path
) -> None:
    config = make_config({"data": str(tweets), "label": "sentiment", "workers": 2})
    dataset = replace(load_dataset(config), notes=(Spell("import os; os._exit(3)"),))
    many = Parts(train=list(range(300_000)))  # more than a pipe takes while nobody reads
    jobs = [made_job(number) for number in (1, 2, 3)]
    session = Session(tmp_path / "logs")
    trainings = [(job, many) for job in jobs]

    results = list(train_in_workers(trainings, dataset, config, session, lambda _: None))

    assert sorted(result.job.id for result in results) == ["j0001", "j0002", "j0003"]
    for result in results:
        assert isinstance(result, JobFailed)
        assert result.what == "The worker process ended unexpectedly (exit code 3)."
    assert multiprocessing.active_children() == []


def test_however_the_owner_is_stopped_its_workers_have_ended(
    tmp_path: Path, tweets: Path, tiny_bert: Path
) -> None:
    runner = Runner(tmp_path, tweets, (f"EN={tiny_bert}", f"FR={tiny_bert}"))
    first_dies = f"""if True:
        import os, time
        try:
            os.mkdir({str(tmp_path / "dead")!r})
            os._exit(3)
        except FileExistsError:
            time.sleep(100)
    """

    def press(event: Event) -> None:
        if isinstance(event, JobFailed):
            assert len(multiprocessing.active_children()) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        runner.run(press, change=lambda data: replace(data, notes=(Spell(first_dies),)), workers=2)

    assert multiprocessing.active_children() == []
    assert stopped.tb  # which holds on to all that the run left open
    assert runner.status() == "interrupted"


@pytest.fixture
def command(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Iterator[subprocess.Popen[str]]:
    """Start three jobs that would take minutes, with two workers, in a process group of its own."""
    words = ["train", "distributed", str(tweets), "-l", "areas", "-m", str(tiny_bert)]
    words += ["--workers", "2", "--threads", "1", "--epochs", "500", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "llm_tool", *words],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def told_until(command: subprocess.Popen[str], kind: str) -> list[dict[str, Any]]:
    """Return what a command tells until an event of a kind."""
    assert command.stdout is not None
    told = []
    for line in command.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] == kind:
            break
    return told


def workers_of(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the workers of a command, as soon as there are two."""
    while command.poll() is None:
        family = psutil.Process(command.pid).children()
        workers = [child for child in family if "spawn_main" in " ".join(child.cmdline())]
        if len(workers) == 2:
            return workers
        time.sleep(0.01)
    return []


@pytest.mark.parametrize("when", ["run_started", "epoch_ended"])
def test_ctrl_c_ends_all_workers_at_once_and_keeps_what_they_recorded(
    command: subprocess.Popen[str], tmp_path: Path, when: str
) -> None:
    told = told_until(command, when)
    assert told[-1]["event"] == when
    workers = workers_of(command)
    family = psutil.Process(command.pid).children(recursive=True)
    assert len(workers) == 2

    began = time.monotonic()
    os.killpg(command.pid, signal.SIGINT)  # a terminal sends it to every process in it
    out, err = command.communicate(timeout=60)

    assert command.returncode == 130, err
    assert time.monotonic() - began < 15
    assert "Traceback" not in err
    assert "Stopped" in err
    assert psutil.wait_procs(family, timeout=10)[1] == []
    told += [json.loads(line) for line in out.splitlines()]
    assert (told[-1]["event"], told[-1]["status"]) == ("run_ended", "interrupted")
    (session,) = (tmp_path / "training_logs").iterdir()
    assert json.loads((session / "session.json").read_text("utf-8"))["status"] == "interrupted"
    assert not list(tmp_path.rglob("*.tmp"))
    for event in (event for event in told if event["event"] == "epoch_ended"):
        table = read_metrics(session / event["job"]["task"]["label_value"] / "training.csv")
        own = table[table["model_identifier"] == event["job"]["id"]]
        assert event["epoch"] in own["epoch"].tolist()
