"""Single jobs of a plan: the same files as a run on this machine, whatever happens on the way."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.errors import StudioError
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    Event,
    JobEnded,
    JobFailed,
    JobStarted,
)
from llm_tool.execution import job as execution_job
from llm_tool.execution.job import requeue
from llm_tool.execution.local import run_plan
from llm_tool.execution.prepared import job_command
from llm_tool.logs import Session
from llm_tool.logs.journal import JOURNAL, read_events
from llm_tool.modes.planning import prepare
from llm_tool.modes.resume import restore
from llm_tool.stopping import PAUSES, pause_on
from llm_tool.trainers import checkpoint, saving
from tests.conftest import Run
from tests.jobs_by_hand import SESSION_ID, Prepared, exit_code, prepared, settings, tables

MODES = (
    # A multi-class task and yes-or-no ones; most texts are read in windows.
    {
        "mode": "custom",
        "label": ("sentiment", "areas"),
        "epochs": 1,
        "max_length": 8,
        "long_documents": "chunk",
        "small_classes": "drop",
        "seeds": (3,),
    },
    # A shared encoder in folds, with a phase for weak classes, in the same session.
    {
        "mode": "distributed",
        "label": ("areas",),
        "shared_encoder": True,
        "folds": 2,
        "epochs": 1,
        "reinforced": True,
        "reinforced_epochs": 1,
        "small_classes": "drop",
    },
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the test's folder, in which it runs; the command goes to others by itself."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    found = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in found if not path.parts[0].startswith(".")]


def test_jobs_by_hand_in_any_order_leave_the_files_of_a_run_on_this_machine(
    here: Path, tweets: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "local").mkdir()
    (here / "cluster").mkdir()
    monkeypatch.chdir(here / "local")
    for keys in MODES:
        config = settings(tweets, tiny_bert, **keys)
        dataset, plan = prepare(config)
        run_plan(plan, dataset, config, Session(config.logs_dir, SESSION_ID))

    monkeypatch.chdir(here / "cluster")
    runs = [prepared(settings(tweets, tiny_bert, **keys)) for keys in MODES]
    session = runs[0].session
    jobs = [job for own in runs for job, _ in own.trainings]
    assert {job.kind for job in jobs} == {"multi-class", "one-vs-all", "multi-label"}
    assert {job.fold for job in jobs} == {0, 1, 2}
    order = list(range(len(jobs)))
    random.Random(1).shuffle(order)
    assert runs[0].run(*order) == [0] * len(jobs)
    assert not list(session.folder.glob("*/*.csv"))

    Session(session.logs_dir, SESSION_ID).repair()

    local = here / "local" / "training_logs" / SESSION_ID
    assert tables(session.folder) == tables(local)
    assert len(tables(local)) == 2 * 4
    assert files(session.folder) == files(local)
    models = [here / name / "models" / SESSION_ID for name in ("local", "cluster")]
    assert files(models[0]) == files(models[1])
    for path in models[0].rglob("model.safetensors"):
        other = models[1] / path.relative_to(models[0])
        assert path.read_bytes() == other.read_bytes(), path
    chunked = [e.chunked for own in session.folder.glob(f"*/runs/*/{JOURNAL}")
               for e in read_events(own) if isinstance(e, JobStarted)]  # fmt: skip
    assert max(chunked) > 20
    for number in (0, 1):
        run = restore(Session(session.logs_dir, SESSION_ID), number)
        told: list[Event] = []
        run_plan(run.plan, run.dataset, run.config, session, told.append, resume=number)
        assert not any(isinstance(event, JobStarted) for event in told)
    assert tables(session.folder) == tables(local)


@pytest.fixture
def one(here: Path, tweets: Path, tiny_bert: Path) -> Prepared:
    """Return a session with one job, prepared."""
    return prepared(settings(tweets, tiny_bert))


def events(one: Prepared) -> list[Event]:
    return list(read_events(one.folder(0) / JOURNAL))


def kinds(one: Prepared) -> list[type[Event]]:
    return [type(event) for event in events(one)]


def attempt(one: Prepared, *observers: Callable[[Event], None]) -> execution_job.End:
    """Make an attempt at the first job that tells observers; they may stop it."""
    session, job = execution_job.find_job(one.plan, 0)
    folder, manifest = execution_job.prepared_for(session, job)

    def show(event: Event) -> None:
        for observer in observers:
            observer(event)

    with pause_on(*PAUSES):
        return execution_job.train_prepared(session, job, folder, manifest, show)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_needs_neither_the_data_nor_a_network_and_runs_from_any_folder(
    here: Path,
    tweets: Path,
    tiny_bert: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    processes: int,
) -> None:
    own = prepared(settings(tweets, tiny_bert, processes=processes, threads=processes))
    tweets.unlink()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    if processes == 1:
        monkeypatch.chdir(elsewhere)
        assert exit_code(here / own.plan, 0) == 0
        monkeypatch.chdir(here)
    else:
        environment = {**os.environ, "https_proxy": "http://127.0.0.1:9"}
        environment.pop("HF_HUB_OFFLINE")
        command = job_command(own.session, "j0001")
        done = subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=200
        )
        assert (done.returncode, done.stdout) == (0, "")
        told = [line for line in done.stderr.splitlines() if line.startswith("sentiment")]
        assert len(told) == 4  # start, two epochs, end: by one of the two

    assert kinds(own) == [JobStarted, EpochEnded, EpochEnded, JobEnded]
    assert not list(elsewhere.iterdir())
    ended = events(own)[-1]
    assert isinstance(ended, JobEnded)
    assert (here / ended.saved_model_path).is_dir()


def test_a_job_writes_only_its_run_folder_and_its_model(one: Prepared, here: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        stats = {name: (here / name).stat() for name in files(here)}
        return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}

    before = state()
    assert one.run(0) == [0]
    after = state()

    assert {name: after.pop(name) for name in before} == before
    own = one.folder(0)
    assert {str(Path(name).parent) for name in after} == {
        str(own), f"models/{SESSION_ID}/sentiment/{one.trainings[0][0].model_name}-MULTI"
    }  # fmt: skip
    assert not (one.folder(0) / "attempt.json").exists()


def test_a_finished_job_ends_at_once_without_torch(one: Prepared) -> None:
    assert one.run(0) == [0]
    words = job_command(one.session, "j0001")[3:]
    code = (
        "import sys; from llm_tool.cli.app import main; sys.argv[1:] = " + repr(words) + "\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, [name for name in ('torch', 'transformers', 'pandas', 'pyarrow')"
        " if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout == "0 []\n"
    assert done.stderr == "j0001 is done already.\n"
    assert kinds(one).count(JobEnded) == 1


def test_a_failure_is_recorded_by_the_job_itself(
    one: Prepared, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tiny_bert.with_name("away")
    tiny_bert.rename(away)
    try:
        assert one.run(0) == [1]
    finally:
        away.rename(tiny_bert)

    (failed,) = events(one)
    assert isinstance(failed, JobFailed)
    assert failed.what == f"The files of the model '{tiny_bert}' are not on this node."
    assert failed.where == str(tiny_bert)
    assert "on a disk that all nodes share" in failed.remedy
    assert "failed: The files of the model" in capsys.readouterr().err

    assert one.run(0) == [0]
    assert kinds(one)[1:] == [JobStarted, EpochEnded, EpochEnded, JobEnded]


def test_without_a_preparation_it_is_said_what_makes_one(one: Prepared) -> None:
    shutil.rmtree(one.session.cluster_folder)

    with pytest.raises(StudioError) as error:
        one.run(0)

    assert error.value.what == "Nothing is prepared for the job j0001."
    assert error.value.where.endswith(f"{SESSION_ID}/.cluster/run-0")
    assert "llm-tool resume 20260101_120000" in error.value.remedy


def test_a_wrong_place_is_bad_usage(one: Prepared, run: Run) -> None:
    done = run("job", "run", str(one.plan), "--index", "1")
    assert done.returncode == 2
    assert "There is no job 1 in the plan." in done.stderr
    assert "It has 1 job; --index counts them from 0." in done.stderr

    for plan, what in (
        (one.plan.with_name("plan.jsonl"), "The plan cannot be read: No such file"),
        (one.plan.parents[1] / "jobs.jsonl", "The plan cannot be read"),
    ):
        with pytest.raises(StudioError, match=what):
            execution_job.find_job(plan, 0)
    with pytest.raises(StudioError, match="There is no job -1"):
        execution_job.find_job(one.plan, -1)
    one.plan.write_text("{torn\n", "utf-8")
    with pytest.raises(StudioError, match="Line 1 of the plan is damaged"):
        execution_job.find_job(one.plan, 0)


def test_of_two_attempts_only_the_later_one_writes(one: Prepared) -> None:
    ends: list[execution_job.End] = []

    def start_another(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 1 and not ends:
            ends.append("done")  # so that it is started once
            ends[0] = attempt(one)

    assert attempt(one, start_another) == "replaced"

    assert ends == ["done"]
    resumed = [e.resumed_from for e in events(one) if isinstance(e, JobStarted)]
    assert resumed == [0, 1]
    assert kinds(one) == [JobStarted, EpochEnded, JobStarted, EpochEnded, JobEnded]
    assert not (one.folder(0) / "checkpoint").exists()


def test_a_job_that_another_attempt_ended_just_now_is_left_alone(
    one: Prepared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert one.run(0) == [0]
    before = events(one)
    capsys.readouterr()
    answers = iter([False, True])
    monkeypatch.setattr(execution_job, "is_over", lambda *_: next(answers))

    assert one.run(0) == [0]

    assert capsys.readouterr().err == ""
    assert events(one) == before
    assert not (one.folder(0) / "attempt.json").exists()


def test_an_attempt_replaced_in_its_last_epoch_saves_no_model(one: Prepared, here: Path) -> None:
    def take_away(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            (one.folder(0) / "attempt.json").write_text('{"attempt": "another"}', "utf-8")

    assert attempt(one, take_away) == "replaced"

    assert kinds(one) == [JobStarted, EpochEnded, EpochEnded]
    assert not (one.folder(0) / "predictions.parquet").exists()
    assert not (here / "models").exists()


def test_an_attempt_replaced_while_it_saves_its_model_leaves_that_of_the_other(
    one: Prepared, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[execution_job.End] = []
    sync = saving.sync

    def slow(path: Path) -> None:
        if not ends:
            ends.append("failed")
            ends[0] = attempt(one)
        sync(path)

    monkeypatch.setattr(saving, "sync", slow)

    assert (attempt(one), ends) == ("replaced", ["done"])

    assert sum(isinstance(event, JobEnded) for event in events(one)) == 1
    (model,) = (here / "models").glob("*/*/*")
    assert (model / "training.json").exists()


def test_an_attempt_replaced_while_it_saves_a_checkpoint_leaves_that_of_the_other(
    one: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file = checkpoint.save_file

    def slow(tensors: checkpoint.Tensors, path: Path) -> None:
        save_file(tensors, path)
        (one.folder(0) / "attempt.json").write_text('{"attempt": "another"}', "utf-8")
        (path.parent / "checkpoint.json").write_text("the other's", "utf-8")

    monkeypatch.setattr(checkpoint, "save_file", slow)

    assert attempt(one) == "replaced"

    path = one.folder(0) / "checkpoint" / "checkpoint.json"
    assert path.read_text("utf-8") == "the other's"


def test_an_attempt_that_writes_nothing_yet_notices_between_batches(
    one: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_tool.logs.job_session._LOOK", 0.0)
    batches: list[Event] = []

    def take_away(event: Event) -> None:
        if isinstance(event, BatchEnded):
            batches.append(event)
            (one.folder(0) / "attempt.json").write_text('{"attempt": "another"}', "utf-8")

    assert attempt(one, take_away) == "replaced"
    assert len(batches) == 1
    assert kinds(one) == [JobStarted]


def signal_at(epoch: int, batch: int, name: str = "SIGTERM") -> Callable[[Event], None]:
    def observe(event: Event) -> None:
        if isinstance(event, BatchEnded) and (event.epoch, event.batch) == (epoch, batch):
            os.kill(os.getpid(), getattr(signal, name))

    return observe


def test_a_paused_job_goes_on_to_the_same_numbers(
    here: Path, tweets: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for name, pauses in (("whole", ()), ("paused", ((1, 2), (2, 1), (2, 3)))):
        (here / name).mkdir()
        monkeypatch.chdir(here / name)
        own = prepared(settings(tweets, tiny_bert))
        ends += [attempt(own, signal_at(*place)) for place in pauses]
        ends.append(attempt(own))
        own.session.repair()

    assert ends == ["done", "paused", "paused", "paused", "done"]
    of_whole, of_paused = (
        tables(here / name / "training_logs" / SESSION_ID) for name in ("whole", "paused")
    )
    assert of_paused == of_whole


@pytest.mark.parametrize(
    ("by", "in_slurm", "answer", "asked", "said"),
    [
        ("SIGUSR1", True, 0, True, ""),
        ("SIGUSR2", True, 1, True, "j0001 could not go back to the queue: not allowed"),
        ("SIGTERM", True, 0, False, ""),
        ("SIGUSR1", False, 0, False, ""),
    ],
)
def test_a_job_whose_time_is_up_goes_back_to_the_queue(
    one: Prepared,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    by: str,
    in_slurm: bool,
    answer: int,
    asked: bool,
    said: str,
) -> None:
    made_scheduler(here / "bin", answer, monkeypatch)
    if in_slurm:
        monkeypatch.setenv("SLURM_JOB_ID", "123")
    else:
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    show = signal_at(1, 1, by)
    monkeypatch.setattr("llm_tool.logs.summary.PlainSummary", lambda: show)
    assert one.run(0) == [75]

    calls = here / "bin" / "calls"
    assert (calls.read_text("utf-8") if calls.exists() else "") == "requeue 123\n" * asked
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == f"j0001 pauses after {by}; what it has is kept."
    assert rest == [said] * bool(said)


def made_scheduler(folder: Path, answer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a scontrol into the path that notes how it is called, and answers."""
    folder.mkdir()
    script = folder / "scontrol"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> "{folder}/calls"\necho not allowed >&2\nexit {answer}\n', "utf-8"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_job_that_got_nowhere_in_its_time_does_not_go_back_to_the_queue(
    one: Prepared,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made_scheduler(here / "bin", 0, monkeypatch)
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    load = execution_job._encoder

    def load_slowly(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGUSR1)
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(execution_job, "_encoder", load_slowly)
    assert one.run(0) == [75]

    assert not (here / "bin" / "calls").exists()
    assert "j0001 got no further in its time" in capsys.readouterr().err
    assert not (one.folder(0) / JOURNAL).exists()


def test_a_process_that_is_not_the_first_of_several_records_nothing(one: Prepared) -> None:
    session, job = execution_job.find_job(one.plan, 0)
    started = JobStarted(job, "", 1, 1, 1, 1, 1, 0.1, 8, 0, "f1_macro", "cpu", "float32", 1)
    session.record(started)  # it has no claim
    assert not one.folder(0).exists()


def test_the_folder_of_the_run_must_be_on_the_node(one: Prepared) -> None:
    path = one.session.folder / "session.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace(f'"folder": "{Path.cwd()}"', '"folder": "/gone/home"'), "utf-8")

    with pytest.raises(StudioError) as error:
        one.run(0)

    assert error.value.where == "/gone/home"
    assert "on a disk that all nodes share" in error.value.remedy


def test_of_an_array_only_the_job_itself_goes_back_to_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/given\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "70")  # as the last one of an array has it
    assert requeue() == ""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert requeue() == ""

    assert (tmp_path / "given").read_text() == "requeue 70\nrequeue 70_3\n"
