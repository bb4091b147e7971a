"""What a run on a cluster looks like: whole screens, plain lines and JSON, from made events."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from io import StringIO

import pyte
import pytest
from rich.console import Console

from llm_tool.events import (
    ClusterSeen,
    Event,
    JobFailed,
    Preparing,
    RunEnded,
    RunningJob,
    RunStarted,
    from_json,
)
from llm_tool.logs.summary import PlainSummary
from llm_tool.studio.cluster import ClusterDisplay, live_lines
from llm_tool.studio.display import ResultDisplay, RunDisplay
from llm_tool.studio.runs import JsonLines
from tests.test_display import a_run, ended, epoch, job

SESSION = "20261122_140501"
JOBS = (job("FR", number=1), job("EN", number=2), job("DE", number=3))
RUN = RunStarted(SESSION, "quick", f"training_logs/{SESSION}", "models/x", JOBS)
WAITS = ClusterSeen(3, (), 0, 0, "Resources")
BEGUN = RunningJob(JOBS[0], "node1"), RunningJob(JOBS[1], "node2", 1, 10, 0.5)
RUNS = ClusterSeen(1, BEGUN, 0, 0)
LOST = "sentiment · camembert-base · FR was lost with node1 and is submitted again."
FAILED = JobFailed(
    JOBS[2],
    "The job ended without a result.\nTraceback:\n\tMemoryError [bold]\x1b[2J",
    "training_logs/x.out",
    "llm-tool resume tries it again.",
)
LEFT = RunEnded(SESSION, "detached", 3, 1, 1, 65.0, f"llm-tool resume {SESSION}")


def events() -> list[Event]:
    return [
        RUN,
        WAITS,
        RUNS,
        epoch(1, 0.5, True, JOBS[1]),
        epoch(1, 0.6, True, JOBS[0]),
        replace(RUNS, news=(LOST,)),
        ended(JOBS[1], 0.5),
        FAILED,
        ClusterSeen(0, (RunningJob(JOBS[0], "node1", 1, 10, 0.6),), 1, 1),
        LEFT,
    ]


def on_screen(told: list[Event], width: int = 80, height: int = 30, *, keys: bool = True) -> str:
    """Return what a terminal shows after these events."""
    sink = StringIO()
    looks = {"markup": False, "highlight": False, "emoji": False}
    environment = {"TERM": "xterm", "COLUMNS": str(width), "LINES": str(height)}
    console = Console(file=sink, force_terminal=True, _environ=environment, **looks)
    for show in (ClusterDisplay(console, keys=keys), ResultDisplay(console)):
        for event in told:
            show(event)
    screen = pyte.Screen(width, height)
    pyte.Stream(screen).feed(sink.getvalue().replace("\n", "\r\n"))
    return "\n".join(line.rstrip() for line in screen.display).rstrip()


def test_epochs_stay_and_below_them_stand_the_counts_and_the_jobs_that_run() -> None:
    assert on_screen(events()[:7]).split("\n") == [
        "──────────────────────────── 3 jobs on the cluster ─────────────────────────────",
        "job                   epoch  val loss  macro F1  weakest class",
        "sentiment …t-base EN      1    0.9120     0.500  neutral 0.40     ★ best",
        "sentiment …t-base FR      1    0.9120     0.600  neutral 0.50     ★ best",
        "sentiment · camembert-base · FR was lost with node1 and is submitted again.",
        "3 jobs: 1 queued, 2 running, 0 done, 0 failed",
        "  sentiment camembert-base FR  node1  begins",
        "  sentiment camembert-base EN  node2  epoch  1/10  macro F1 0.500",
        "q: leave it running, Ctrl-C: stop the jobs",
    ]


def test_what_is_prepared_is_said_and_how_far_until_the_cluster_has_the_jobs() -> None:
    preparing = [Preparing("downloading bert-base"), Preparing("tokenising for bert-base", 0.405)]
    for told, last in (
        (preparing[:1], "Preparing the jobs: downloading bert-base"),
        (preparing, "Preparing the jobs: tokenising for bert-base: 40%"),
    ):
        assert on_screen([RUN, *told]).split("\n")[2:] == [last]
    assert on_screen([RUN, *preparing, WAITS]).split("\n")[2:] == [
        "3 jobs: 3 queued, 0 running, 0 done, 0 failed; waiting: no node is free",
        "q: leave it running, Ctrl-C: stop the jobs",
    ]


def test_jobs_that_differ_by_their_seeds_only_are_told_apart() -> None:
    jobs = [replace(job("FR", number=n), seed=n) for n in (1, 2)]
    running = tuple(RunningJob(one, "n1", 1, 2, 0.5) for one in jobs)
    told = [replace(RUN, jobs=tuple(jobs)), epoch(1, 0.5, True, jobs[1]),
            ClusterSeen(0, running, 0, 0), replace(FAILED, job=jobs[0])]  # fmt: skip
    shown = on_screen(told).split("\n")
    assert shown[2].startswith("sentiment …FR seed 2  ")
    assert shown[3] == "✗ sentiment · camembert-base · FR · seed 1 failed"
    assert "  sentiment camembert-base FR seed 1  n1  epoch 1/2  macro F1 0.500" in shown
    assert "  sentiment camembert-base FR seed 2  n1  epoch 1/2  macro F1 0.500" in shown
    over = on_screen([told[0], told[-1], replace(LEFT, jobs=2)])
    assert "✗ j0001 sentiment · camembert-base · FR · seed 1: " in over


def test_what_is_left_when_it_is_left_running_says_so_and_how_to_follow_it() -> None:
    shown = on_screen(events()).split("\n")
    assert shown[5:11] == [
        "✗ sentiment · camembert-base · DE failed",
        "  The job ended without a result. (in training_logs/x.out)",
        "  | Traceback:",
        "  |         MemoryError [bold]\\x1b[2J",
        "  llm-tool resume tries it again.",
        "──────────────────────────────────── Result ────────────────────────────────────",
    ]
    below = shown[shown.index("■ 1 of 3 jobs done in 1 min 5 s, detached") + 1 :]
    assert below[0].startswith("  ✗ j0003 sentiment · camembert-base · DE: The job ended without")
    assert below[-1] == f"Left running on the cluster. llm-tool resume {SESSION} follows it."


def test_without_keys_none_are_offered() -> None:
    assert on_screen([RUN], keys=False).split("\n")[-1] == "Preparing the jobs"
    assert "Ctrl-C" not in on_screen(events()[:7], keys=False)
    assert on_screen(events()[:2], keys=False).split("\n")[-1] == (
        "3 jobs: 3 queued, 0 running, 0 done, 0 failed; waiting: no node is free"
    )


@pytest.mark.parametrize(("width", "height"), [(200, 60), (80, 24), (60, 20), (40, 12), (24, 8)])
def test_the_lines_fit_the_terminal_and_say_how_many_do_not(width: int, height: int) -> None:
    jobs = [job("FR", number=number) for number in range(1, 43)]
    running = tuple(RunningJob(one, "n1.cluster.example.org", 3, 10, 0.612) for one in jobs)

    lines = live_lines(ClusterSeen(1_000, running, 7, 0), width, height - 8)

    assert all(len(line) < max(width, 46) for line in lines)
    assert len(lines) <= max(4, height - 8)
    shown = [line for line in lines if "epoch  3/10" in line]
    assert shown
    if len(shown) < len(jobs):
        assert lines[-1] == f"  and {len(jobs) - len(shown)} more"
    if width >= 80:
        assert shown[0] == "  sentiment camembert-base FR  n1  epoch  3/10  macro F1 0.612"
    counts = "1,000 queued, 42 running, 7 done, 0 failed"
    assert lines[0].endswith(counts)


def test_a_screen_that_is_too_small_shows_whole_lines_and_the_rows_above_stay() -> None:
    jobs = [job("FR", number=number) for number in range(1, 43)]
    running = tuple(RunningJob(one, "n1", 3, 10, 0.612) for one in jobs)
    crowd = ClusterSeen(0, running, 0, 0)
    rows = [epoch(n, 0.5, False, JOBS[0]) for n in (1, 2)]

    shown = on_screen([RUN, crowd, rows[0], crowd, rows[1], crowd], 60, 16).split("\n")

    assert shown[2:] == [
        "sentime…ase FR      1    0.9120     0.500",
        "sentime…ase FR      2    0.9120     0.500",
        "42 jobs: 0 queued, 42 running, 0 done, 0 failed",
        *["  sentiment ca…ert-base FR  n1  epoch  3/10  macro F1 0.612"] * 5,
        "  and 37 more",
        "q: leave it running, Ctrl-C: stop the jobs",
    ]


def test_names_of_users_and_nodes_are_shown_as_they_are_and_act_on_nothing() -> None:
    odd = replace(JOBS[0], model_name="[red]日本語\x1b[2J")
    running = RunningJob(odd, "n\x1b]0;x\x07[b]", 1, 2, 0.5)
    seen = ClusterSeen(0, (running,), 0, 0, news=("a\x1b[2Jb",))

    shown = on_screen([RUN, seen])

    assert "[red]日本語\\x1b[2J" in shown.replace("日 本 語 ", "日本語")
    assert "a\\x1b[2Jb" in shown
    assert "n\\x1b]0;x\\x07[b]" in shown


def test_plain_lines_say_counts_when_they_change_noticeably_and_news_always() -> None:
    many = tuple(job("FR", number=number) for number in range(1, 101))
    running = tuple(RunningJob(one, "n1") for one in many[:10])
    seen = [
        ClusterSeen(100, (), 0, 0, "Priority"),
        ClusterSeen(100, (), 0, 0, "Priority"),
        ClusterSeen(90, running, 0, 0),
        *(ClusterSeen(90 - n, running, n, 0) for n in range(1, 7)),
        ClusterSeen(84, running, 6, 0, news=("j0007 was lost.",)),
        ClusterSeen(83, running, 6, 1),
        ClusterSeen(0, (), 99, 1),
    ]
    sink = StringIO()
    tell = PlainSummary(sink)
    for one in seen:
        tell(one)
    assert sink.getvalue().splitlines() == [
        "100 jobs: 100 queued, 0 running, 0 done, 0 failed; waiting: others come first",
        "100 jobs: 90 queued, 10 running, 0 done, 0 failed",
        "100 jobs: 85 queued, 10 running, 5 done, 0 failed",
        "j0007 was lost.",
        "100 jobs: 83 queued, 10 running, 6 done, 1 failed",
        "100 jobs: 0 queued, 0 running, 99 done, 1 failed",
    ]


def test_plain_lines_end_with_what_a_failed_job_wrote_last_and_how_to_follow_the_others() -> None:
    sink = StringIO()
    tell = PlainSummary(sink)
    for one in (FAILED, LEFT):
        tell(one)
    assert sink.getvalue().splitlines() == [
        "sentiment · camembert-base · DE: failed: The job ended without a result. llm-tool resume "
        "tries it again.",
        "  | Traceback:",
        "  | \\tMemoryError [bold]\\x1b[2J",
        "detached: 1 of 3 jobs done in 1 min 5 s. Left running on the cluster. "
        f"llm-tool resume {SESSION} follows it.",
    ]


def test_json_has_how_the_cluster_stands_once_for_each_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = JsonLines()
    again = from_json(json.dumps({"event": "cluster_seen", "queued": 3, "running": [], "done": 0,
                                  "failed": 0, "waiting": "Resources"}))  # fmt: skip
    for one in (WAITS, again, RUNS, RUNS, a_run()[2], WAITS):
        tell(one)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["queued"], len(one["running"])) for one in lines] == [(3, 0), (1, 2), (3, 0)]


@pytest.mark.parametrize("display", ["local", "cluster"])
def test_what_goes_to_a_pipe_does_so_while_lines_move_on_the_terminal(
    display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, pipe = StringIO(), StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    console = Console(file=terminal, force_terminal=True, _environ={"TERM": "xterm"})
    kind = {"local": RunDisplay, "cluster": ClusterDisplay}[display]
    show, tell = kind(console), JsonLines()
    for event in (RUN, LEFT):
        show(event)
        tell(event)
    assert [from_json(line) for line in pipe.getvalue().splitlines()] == [RUN, LEFT]
    assert "run_started" not in terminal.getvalue()
