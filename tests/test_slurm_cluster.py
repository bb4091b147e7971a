"""Runs on a real SLURM cluster of two nodes; skipped where none can be started."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llm_tool.config import make_config
from llm_tool.events import ClusterSeen, Event, JobStarted
from llm_tool.execution.local import Outcome, run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.journal import read_attempts, read_events
from llm_tool.modes.planning import prepare
from tests.conftest import WORDS, tweets_csv
from tests.slurm_cluster import Cluster, kill, missing, running_cluster

pytest.importorskip("submitit")
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
UNREPEATABLE = ["timestamp", "seconds", "tokens_per_second", "saved_model_path"]
LOCAL, REMOTE = "20260101_000000", "20260101_000001"
TOPICS = WORDS[11:23]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def folder(
    cluster: Cluster, tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the test's own folder, with two tables and a model; it is the working folder."""
    (tmp_path / "tweets.csv").write_text(tweets_csv(), "utf-8")
    rows = [f"the {topic} was {WORDS[(i + n) % 8]} {WORDS[(3 * n + i) % 35]},{topic}"
            for n in range(8) for i, topic in enumerate(TOPICS)]  # fmt: skip
    (tmp_path / "topics.csv").write_text("\n".join(["text,topic", *rows]) + "\n", "utf-8")
    (tmp_path / "bert").symlink_to(tiny_bert)
    (tmp_path / "other").symlink_to(tiny_bert)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**keys: object) -> dict[str, Any]:
    return {
        "model": ["bert"],
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "threads": 1,
        **keys,
    }


BENCHMARK = settings(
    mode="benchmark", data="tweets.csv", label=["sentiment", "topic"], model=["bert", "other"],
    languages="multilingual",
)  # fmt: skip
DISTRIBUTED = settings(mode="distributed", data="topics.csv", label=["topic"])


def run_here(keys: dict[str, Any], *observers: Callable[[Event], None]) -> Outcome:
    config = make_config(keys)
    dataset, plan = prepare(config)
    return run_plan(plan, dataset, config, Session(session_id=config.session_id), *observers)


def tables(session_id: str) -> dict[str, pd.DataFrame]:
    """Return all tables of a session, without what differs from run to run."""
    folder = Path("training_logs", session_id)
    return {
        str(path.relative_to(folder)): read_metrics(path).drop(
            columns=UNREPEATABLE, errors="ignore"
        )
        for name in ("training.csv", "best.csv")
        for path in sorted(folder.glob(f"*/{name}"))
    }


def assert_same_tables(session_id: str, other: str) -> None:
    ours, theirs = tables(session_id), tables(other)
    assert ours.keys() == theirs.keys()
    for name, table in ours.items():
        pd.testing.assert_frame_equal(table, theirs[name])


def status(session_id: str) -> str:
    path = Path("training_logs", session_id, "session.json")
    return str(json.loads(path.read_text("utf-8"))["status"])


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:  # noqa: ANN401
    """Return what a condition gives when that is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.2)
    return found


def test_a_benchmark_on_two_nodes_gives_the_files_of_a_local_run(folder: Path) -> None:
    seen: list[ClusterSeen] = []

    def look(event: Event) -> None:
        if isinstance(event, ClusterSeen):
            seen.append(event)

    run_here(BENCHMARK | {"session_id": LOCAL, "workers": 1})
    outcome = run_here(BENCHMARK | {"session_id": REMOTE, "executor": "slurm"}, look)

    assert (len(outcome.done), len(outcome.failed)) == (4, 0)
    assert len(tables(REMOTE)) == 4
    assert_same_tables(REMOTE, LOCAL)
    assert {job.node for one in seen for job in one.running} == {"n1", "n2"}
    assert (seen[-1].queued, seen[-1].running, seen[-1].done) == (0, (), 4)
    assert status(REMOTE) == "done"
    left = Path("training_logs", REMOTE, ".cluster").rglob("*")
    assert [path.name for path in left] == ["submissions.jsonl"]


@contextmanager
def owner(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Give a process that trains or resumes, and writes its events to ``events.jsonl``."""
    with Path("events.jsonl").open("w") as events:
        process = subprocess.Popen(
            [sys.executable, "-m", "llm_tool", *words, "--json"],
            stdout=events,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    try:
        yield process
    finally:
        kill(process)


def told() -> list[dict[str, Any]]:
    """Return the events that the last owner wrote."""
    return [json.loads(line) for line in Path("events.jsonl").read_text("utf-8").splitlines()]


def journals() -> dict[str, Any]:
    """Return what the journals of the session on the cluster say, by job."""
    paths = Path("training_logs", REMOTE).glob("*/runs/*/journal.jsonl")
    return {path.parent.name: read_attempts(path) for path in paths}


def ended() -> list[str]:
    return [job_id for job_id, record in journals().items() if record and record.ended]


def just_started(cluster: Cluster) -> str:
    """Return the number of a job that has begun on the second node and cannot be done yet."""
    queue = cluster.tell("squeue", "--noheader", "--array", "--format=%i %N %T %M").splitlines()
    begun = (row.split() for row in queue if " n2 RUNNING " in row)
    return next((number for number, *_, time in begun if time in ("0:00", "0:01", "0:02")), "")


def test_a_distributed_run_survives_node_jobs_and_owner_and_loses_nothing(
    cluster: Cluster, folder: Path
) -> None:
    run_here(DISTRIBUTED | {"session_id": LOCAL, "workers": 1})
    config = make_config(DISTRIBUTED | {"session_id": REMOTE, "executor": "slurm"})
    with owner(*config.command()[1:]) as first:
        wait_for(lambda: len(ended()) >= 2)
        cluster.kill_node("n1")
        kill(first)
    assert status(REMOTE) == "running"
    with owner("resume", REMOTE) as second:
        wait_for(lambda: any(event["event"] == "cluster_seen" for event in told()))
        cluster.tell("scancel", wait_for(lambda: just_started(cluster)))
        wait_for(lambda: cluster.state("n1").startswith("down"))
        cluster.restart_node("n1")
        assert second.wait(timeout=220) == 0

    assert len(ended()) == 12
    assert_same_tables(REMOTE, LOCAL)
    events = told()
    news = [text for event in events for text in event.get("news", ())]
    assert news == [text for text in news if text.endswith("It was submitted again (1 of 3).")]
    assert any("was lost: it was cancelled." in text for text in news)
    assert (events[-1]["status"], events[-1]["done"]) == ("done", 12)
    assert not cluster.tell("squeue", "--noheader")


def test_exported_scripts_go_without_submitit_and_their_job_pauses_when_its_time_is_up(
    cluster: Cluster, folder: Path
) -> None:
    keys = BENCHMARK | {"mode": "quick", "label": ["sentiment"], "model": ["bert"], "epochs": 40}
    run_here(keys | {"session_id": LOCAL, "workers": 1})
    chosen = make_config(keys | {"session_id": REMOTE}).chosen()
    (folder / "run.yaml").write_text(json.dumps(chosen), "utf-8")

    words = [sys.executable, "-m", "llm_tool", "export", "--sbatch", "--config", "run.yaml"]
    done = subprocess.run(words, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert status(REMOTE) == "detached"
    submit, follow = (line.split() for line in done.stdout.splitlines())
    assert follow == ["llm-tool", "resume", REMOTE]
    number = cluster.tell(*submit).removeprefix("Submitted batch job ")
    with owner("resume", REMOTE) as process:
        wait_for(lambda: any(record and len(record.epochs) > 2 for record in journals().values()))
        cluster.tell("scancel", "--signal=USR2", number)  # as SLURM does before the time limit
        assert process.wait(timeout=100) == 0
    assert "Restarts=1" in cluster.tell("scontrol", "show", "job", number)
    (path,) = Path("training_logs", REMOTE).glob("*/runs/*/journal.jsonl")
    first, again = (event for event in read_events(path) if isinstance(event, JobStarted))
    assert first.resumed_from == 0 < again.resumed_from < 40
    assert_same_tables(REMOTE, LOCAL)
