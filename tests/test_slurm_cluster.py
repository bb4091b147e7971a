"""Runs on a real SLURM cluster of two nodes; skipped where none can be started.

The rarer cases take another two minutes, and are run where ``LLM_TOOL_LONG_TESTS`` is set.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llm_tool.config import make_config
from llm_tool.events import ClusterSeen, Event, JobStarted
from llm_tool.execution.local import Outcome, run_plan
from llm_tool.execution.submissions import Submissions
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.journal import read_attempts, read_events
from llm_tool.modes.planning import prepare
from tests.conftest import WORDS, tweets_csv
from tests.slurm_cluster import Cluster, kill, missing, running_cluster
from tests.terminal import CTRL_C, Terminal

pytest.importorskip("submitit")
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
rare = pytest.mark.skipif(not os.environ.get("LLM_TOOL_LONG_TESTS"), reason="LLM_TOOL_LONG_TESTS=1")
UNREPEATABLE = ["timestamp", "seconds", "tokens_per_second", "saved_model_path"]
LOCAL, REMOTE = "20260101_000000", "20260101_000001"
LOGS = Path("training_logs")
TOPICS = WORDS[11:23]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def folder(
    cluster: Cluster, tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the test's own folder, with two tables and two models; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    return furnish(tmp_path, tiny_bert)


def furnish(folder: Path, tiny_bert: Path) -> Path:
    """Make two tables, and two models: ``bert`` without dropout, and ``other``."""
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    rows = [f"the {topic} was {WORDS[(i + n) % 8]} {WORDS[(3 * n + i) % 35]},{topic}"
            for n in range(8) for i, topic in enumerate(TOPICS)]  # fmt: skip
    (folder / "topics.csv").write_text("\n".join(["text,topic", *rows]) + "\n", "utf-8")
    (folder / "other").symlink_to(tiny_bert)
    shutil.copytree(tiny_bert, folder / "bert")
    config = folder / "bert" / "config.json"
    drops = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | drops), "utf-8")
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """Return the folder of a session that trained the benchmark on this machine."""
    folder = furnish(tmp_path_factory.mktemp("reference"), tiny_bert)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_here(BENCHMARK | {"session_id": LOCAL, "workers": 1})
    return folder / "training_logs" / LOCAL


def settings(**keys: object) -> dict[str, Any]:
    return {
        "model": ["bert"],
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "threads": 1,
        "precision": "float32",
        **keys,
    }


BENCHMARK = settings(
    mode="benchmark", data="tweets.csv", label=["sentiment", "topic"], model=["bert", "other"],
    languages="multilingual", epochs=40,
)  # fmt: skip
DISTRIBUTED = settings(mode="distributed", data="topics.csv", label=["topic"])


def run_here(keys: dict[str, Any], *observers: Callable[[Event], None]) -> Outcome:
    config = make_config(keys)
    dataset, plan = prepare(config)
    return run_plan(plan, dataset, config, Session(session_id=config.session_id), *observers)


def tables(session: Path) -> dict[str, pd.DataFrame]:
    """Return all tables of a session, without what differs from run to run."""
    return {
        str(path.relative_to(session)): read_metrics(path).drop(
            columns=UNREPEATABLE, errors="ignore"
        )
        for name in ("training.csv", "best.csv")
        for path in sorted(session.glob(f"*/{name}"))
    }


def assert_same_tables(session: Path, other: Path) -> None:
    ours, theirs = tables(session), tables(other)
    assert ours.keys() == theirs.keys()
    for name, table in ours.items():
        pd.testing.assert_frame_equal(table, theirs[name])


def status(session_id: str) -> str:
    path = LOGS / session_id / "session.json"
    return str(json.loads(path.read_text("utf-8"))["status"])


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:  # noqa: ANN401
    """Return what a condition gives when that is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.2)
    return found


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
    paths = (LOGS / REMOTE).glob("*/runs/*/journal.jsonl")
    return {path.parent.name: read_attempts(path) for path in paths}


def ended() -> list[str]:
    return [job_id for job_id, record in journals().items() if record and record.ended]


def starts(job_id: str) -> list[JobStarted]:
    """Return how the attempts at a job began."""
    (path,) = (LOGS / REMOTE).glob(f"*/runs/{job_id}/journal.jsonl")
    return [event for event in read_events(path) if isinstance(event, JobStarted)]


def is_training(job_id: str) -> bool:
    record = journals().get(job_id)
    return record is not None and not record.ended and len(record.epochs) > 2


def send(cluster: Cluster, name: str, job_id: str) -> None:
    """Send the processes of a job of the first array a signal, as soon as they are training."""
    wait_for(lambda: is_training(job_id))
    queue = cluster.tell("squeue", "--noheader", "--array", "--format=%K %i").splitlines()
    numbers = dict(row.split() for row in queue)
    words = ["scancel", f"--signal={name}", numbers[str(int(job_id[1:]) - 1)]]
    with suppress(subprocess.TimeoutExpired):  # it sends once more when the job ends at once
        subprocess.run(words, timeout=2)


def benchmark(disturb: Callable[[list[ClusterSeen]], None]) -> list[ClusterSeen]:
    """Train the benchmark on the cluster and disturb it; return how its jobs stood."""
    seen: list[ClusterSeen] = []

    def look(event: Event) -> None:
        if isinstance(event, ClusterSeen):
            seen.append(event)

    disturbing = threading.Thread(target=disturb, args=[seen], daemon=True)
    disturbing.start()
    outcome = run_here(BENCHMARK | {"session_id": REMOTE, "executor": "slurm"}, look)
    disturbing.join(10)
    assert not disturbing.is_alive()
    assert (len(outcome.done), len(outcome.failed)) == (4, 0)
    assert (seen[-1].queued, seen[-1].running, seen[-1].done) == (0, (), 4)
    assert status(REMOTE) == "done"
    return seen


def handed_over() -> dict[str, int]:
    """Return how many times each job of the session was submitted."""
    known = Submissions(Session(session_id=REMOTE))
    handed = map(known.named, known)
    return Counter(job_id for one in handed if one is not None for job_id in one.jobs)


def test_a_benchmark_gives_the_files_of_a_local_run_though_jobs_have_to_pause(
    cluster: Cluster, folder: Path, reference: Path
) -> None:
    def disturb(_: list[ClusterSeen]) -> None:
        send(cluster, "TERM", "j0001")  # as when another job is more important
        send(cluster, "USR2", "j0004")  # as before the time limit

    seen = benchmark(disturb)

    assert len(tables(LOGS / REMOTE)) == 4
    assert_same_tables(LOGS / REMOTE, reference)
    assert {job.node for one in seen for job in one.running} == {"n1", "n2"}
    assert handed_over() == {"j0001": 2, "j0002": 1, "j0003": 1, "j0004": 1}
    (news,) = [news for one in seen for news in one.news]
    assert news.endswith("It was submitted again (1 of 3).")
    for job_id in ("j0001", "j0004"):
        first, again = starts(job_id)
        assert first.resumed_from == 0 < again.resumed_from < 40
    left = (LOGS / REMOTE / ".cluster").rglob("*")
    assert [path.name for path in left] == ["submissions.jsonl"]


@rare
def test_nothing_is_submitted_twice_when_the_controller_is_down_for_a_while(
    cluster: Cluster, folder: Path, reference: Path
) -> None:
    def disturb(seen: list[ClusterSeen]) -> None:
        wait_for(lambda: is_training("j0001"))
        cluster.kill_controller()
        wait_for(lambda: "SLURM has not answered since" in seen[-1].waiting)
        time.sleep(15)  # two looks more
        assert "SLURM has not answered since" in seen[-1].waiting
        cluster.restart_controller()

    seen = benchmark(disturb)

    assert_same_tables(LOGS / REMOTE, reference)
    assert handed_over() == {"j0001": 1, "j0002": 1, "j0003": 1, "j0004": 1}
    assert not [news for one in seen for news in one.news]


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
    assert_same_tables(LOGS / REMOTE, LOGS / LOCAL)
    events = told()
    news = [text for event in events for text in event.get("news", ())]
    assert news == [text for text in news if text.endswith("It was submitted again (1 of 3).")]
    assert any("was lost: it was cancelled." in text for text in news)
    assert (events[-1]["status"], events[-1]["done"]) == ("done", 12)
    assert not cluster.tell("squeue", "--noheader")


def test_exported_scripts_go_without_submitit_and_two_nodes_that_train_a_job_pause_together(
    cluster: Cluster, folder: Path, reference: Path
) -> None:
    keys = BENCHMARK | {"mode": "quick", "label": ["sentiment"], "model": ["bert"]}
    chosen = make_config(keys | {"session_id": REMOTE, "slurm_nodes": 2}).chosen()
    (folder / "run.yaml").write_text(json.dumps(chosen), "utf-8")

    words = [sys.executable, "-m", "llm_tool", "export", "--sbatch", "--config", "run.yaml"]
    done = subprocess.run(words, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert status(REMOTE) == "detached"
    submit, follow = (line.split() for line in done.stdout.splitlines())
    assert follow == ["llm-tool", "resume", REMOTE]
    number = cluster.tell(*submit).removeprefix("Submitted batch job ")
    with owner("resume", REMOTE) as process:
        wait_for(lambda: is_training("j0001"), 100)
        assert cluster.tell("squeue", "--noheader", "--format=%N") == "n[1-2]"
        cluster.tell("scancel", "--signal=USR2", number)
        assert process.wait(timeout=150) == 0
    assert "Restarts=1" in cluster.tell("scontrol", "show", "job", number)
    first, again = starts("j0001")
    assert first.resumed_from == 0 < again.resumed_from < 40
    theirs = tables(reference)
    for name, table in tables(LOGS / REMOTE).items():
        one = theirs[name][theirs[name]["model_name"] == "bert"].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, one, rtol=1e-3, atol=1e-4)


@contextmanager
def terminal(*words: str) -> Iterator[Terminal]:
    """Give a terminal that a command of the tool runs in."""
    opened = Terminal([sys.executable, "-m", "llm_tool", *words], folder=Path.cwd())
    try:
        yield opened
    finally:
        opened.close()


def is_as_before(terminal: Terminal) -> bool:
    """Tell whether what is typed is shown again, line by line, and the cursor with it."""
    mode = termios.tcgetattr(terminal._terminal)[3]
    shown = terminal.raw.rfind("\x1b[?25h") >= terminal.raw.rfind("\x1b[?25l")
    return bool(mode & termios.ICANON and mode & termios.ECHO and shown)


@rare
def test_in_a_terminal_q_leaves_the_jobs_running_and_ctrl_c_stops_them(
    cluster: Cluster, folder: Path
) -> None:
    keys = settings(
        mode="quick", data="tweets.csv", label=["sentiment", "topic"], model=["other"], epochs=100,
        languages="multilingual", session_id=REMOTE, executor="slurm",
    )  # fmt: skip
    keyed = "q: leave it running, Ctrl-C: stop the jobs"

    def running() -> list[str]:
        return cluster.tell("squeue", "--noheader", "--array", "--states=R").splitlines()

    with terminal(*make_config(keys).command()[1:]) as first:
        first.wait_for(keyed)
        wait_for(lambda: len(running()) == 2)
        first.press("q")
        assert first.exit_code() == 0
        assert is_as_before(first)
        assert f"llm-tool resume {REMOTE} follows it." in first.text()
    assert status(REMOTE) == "detached"
    assert len(running()) == 2

    with terminal("resume", REMOTE) as second:
        second.wait_for(keyed)
        second.press(CTRL_C)
        assert second.exit_code() == 130
        assert is_as_before(second)
    assert status(REMOTE) == "interrupted"
    wait_for(lambda: not running(), 30)
    assert len(ended()) < 2

    with terminal("resume", REMOTE) as third:
        assert third.exit_code() == 0
    assert status(REMOTE) == "done"
    rows = [table for name, table in tables(LOGS / REMOTE).items() if "training" in name]
    assert [list(table["epoch"]) for table in rows] == [list(range(1, 101))] * 2
