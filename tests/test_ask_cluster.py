"""Where to train: what is asked about a cluster, what is shown of it, what is refused."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from llm_tool.cli.app import app
from llm_tool.cli.doctor import examine
from llm_tool.config import RunConfig, make_config
from llm_tool.execution.resources import share_out
from llm_tool.modes.planning import prepare
from llm_tool.studio import machine
from llm_tool.studio.ask_cluster import CLUSTER
from llm_tool.studio.ask_settings import ask_settings
from llm_tool.studio.ask_training import ask_workers
from llm_tool.studio.draft import SKIP, Draft
from llm_tool.studio.machine import Cluster, find_cluster
from llm_tool.studio.panels import show_plan
from llm_tool.studio.runs import Warmup, measure
from llm_tool.studio.setup import _REST, _confirm
from llm_tool.studio.wizard import BACK, Answer, Asker

GO_ON = "no: go on"
Programs = Callable[..., None]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Return a function that puts programs, each a line of shell, in place of all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(**lines: str) -> None:
        for name, line in lines.items():
            (folder / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / name).chmod(0o755)

    return put


class Scripted(Asker):
    """Answers by what a question begins with; refuses what it does not expect."""

    def __init__(self, answers: Sequence[tuple[str, object]]) -> None:
        self.answers = list(answers)
        self.defaults: dict[str, object] = {}

    def _next(self, question: str) -> object:
        begins, answer = self.answers.pop(0)
        assert question.startswith(begins), question
        return answer

    def choose(self, question: str, options: Sequence, default: object = None) -> Answer:
        titles = {option[0]: option[1] for option in options if option}
        self.defaults[question] = default
        wanted = self._next(question)
        if wanted is BACK:
            return BACK
        return next(value for title, value in titles.items() if title.startswith(str(wanted)))

    def text(self, question: str, default: str, check: Callable | None = None) -> Answer:
        self.defaults[question] = default
        answer = self._next(question)
        if answer is not BACK and check is not None:
            assert check(str(answer)) is True, check(str(answer))
        return answer


def ask(answers: Sequence[tuple[str, object]], settings: dict[str, object]) -> list[object]:
    """Go through the questions; the settings are changed in place."""
    asker = Scripted(answers)
    console = Console(file=StringIO(), width=80)
    draft = Draft(asker, console, Warmup(), settings)
    outcomes = [step(draft) for step in CLUSTER]
    assert not asker.answers
    return outcomes


def test_without_a_cluster_nothing_is_asked(programs: Programs) -> None:
    assert find_cluster() is None
    assert ask([], {}) == [SKIP] * len(CLUSTER)
    programs(sbatch="exit 1", sinfo="echo 'sinfo: error: no configuration' >&2; exit 1")
    settings: dict[str, object] = {"executor": "slurm", "slurm_time": "90"}
    assert ask([], settings) == [SKIP] * len(CLUSTER)
    assert settings == {}


def test_what_belongs_to_the_cluster_is_asked_and_makes_the_same_command(
    programs: Programs,
) -> None:
    programs(sbatch="", sinfo="echo short; echo 'gpu*'; echo short")
    settings: dict[str, object] = {"mode": "quick", "workers": 2}

    ask(
        [
            ("Where to train?", "on the SLURM cluster"),
            ("Which partition?", "short"),
            ("Time limit of a job?", "4:00:00"),
            ("Memory of a job?", "16000"),
            ("CPUs of a job?", "4"),
            ("GPUs of a job?", "1"),
            ("Anything else", "slurm_setup"),
            ("slurm_setup", "[module load cuda, '. env/bin/activate']"),
            ("Anything else", "slurm_parallel"),
            ("slurm_parallel", "10"),
            ("Anything else", GO_ON),
        ],
        settings,
    )

    config = make_config(settings)
    assert config.workers is None
    assert shlex.join(config.command()) == (
        "llm-tool train quick demo --executor slurm --set slurm_partition=short "
        "--set slurm_time=4:00:00 --set slurm_memory=16000 --set slurm_cpus=4 --set slurm_gpus=1 "
        "--set slurm_parallel=10 --set 'slurm_setup=[module load cuda, . env/bin/activate]'"
    )


def test_enter_takes_what_the_cluster_gives_and_what_was_said_before(programs: Programs) -> None:
    programs(sbatch="", sinfo="echo short; echo 'gpu*'")
    settings: dict[str, object] = {"mode": "quick"}
    begin = [("Where to train?", "on the SLURM cluster"), ("Which partition?", "gpu  (default)")]
    rest = [(f"{what} of a job?", "") for what in ("Time limit", "Memory", "CPUs", "GPUs")]
    ask([*begin, *rest, ("Anything else", GO_ON)], settings)
    assert settings == {"mode": "quick", "executor": "slurm"}

    lines = ("module load 'a: b'", "- x # y")
    settings |= {"slurm_partition": "short", "slurm_setup": lines}
    again = Scripted([("Where", "on the SLURM"), ("Which partition?", "short")])
    again.answers += [*rest, ("Anything else", "slurm_setup")]
    draft = Draft(again, Console(file=StringIO(), width=80), Warmup(), settings)
    for step in CLUSTER[:-1]:
        step(draft)
    assert again.defaults["Where to train?"] == "slurm"
    assert again.defaults["Which partition?"] == "short"
    written = make_config(settings)
    again.answers.append(("slurm_setup", ""))
    again.answers.append(("Anything else", GO_ON))
    CLUSTER[-1](draft)
    (shown,) = (said for question, said in again.defaults.items() if "slurm_setup" in question)
    again.answers += [("Anything else", "slurm_setup"), ("slurm_setup", shown)]
    again.answers += [("Anything else", GO_ON)]
    CLUSTER[-1](draft)
    assert make_config(settings).slurm_setup == written.slurm_setup == lines


def test_one_partition_is_not_asked_for_and_an_unknown_one_is_typed(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(sbatch="", sinfo="echo 'debug*'")
    assert find_cluster() == Cluster(("debug",), "debug")
    begin = ("Where to train?", "on the SLURM")
    rest = [(f"{what} of a job?", "") for what in ("Time limit", "Memory", "CPUs", "GPUs")]
    ask([begin, *rest, ("Anything else", GO_ON)], {})

    monkeypatch.setattr(machine, "_PATIENCE", 0.2)
    programs(sinfo="exec /bin/sleep 20")
    assert find_cluster() == Cluster()
    settings: dict[str, object] = {}
    ask([begin, ("Which partition?", "long"), *rest, ("Anything else", GO_ON)], settings)
    assert settings == {"executor": "slurm", "slurm_partition": "long"}


def test_one_can_go_back_and_train_here_after_all(programs: Programs) -> None:
    programs(sbatch="", sinfo="echo 'debug*'")
    draft = Draft(
        Scripted([("Where", BACK), ("Where", "on this machine")]),
        Console(file=StringIO()), Warmup(), {"executor": "slurm", "slurm_time": "90"},
    )  # fmt: skip
    assert CLUSTER[0](draft) is BACK
    assert draft.settings == {"executor": "slurm", "slurm_time": "90"}
    assert CLUSTER[0](draft) is None
    assert draft.settings == {}


def test_every_mode_asks_and_workers_are_of_this_machine() -> None:
    for steps in _REST.values():
        place = steps.index(CLUSTER[0])
        assert steps[place : place + len(CLUSTER)] == CLUSTER
        assert ask_workers not in steps[:place]
        assert ask_settings not in steps[:place]
    draft = Draft(Scripted([]), Console(file=StringIO()), Warmup(), {"executor": "slurm"})
    assert ask_workers(draft) is SKIP


def plan_text(keys: dict[str, object], tweets: Path, tiny_bert: Path) -> str:
    about = {"data": str(tweets), "label": "sentiment", "model": str(tiny_bert)}
    config = make_config(about, keys)
    dataset, plan = prepare(config)
    console = Console(file=StringIO(), width=80)
    taken = measure(plan, dataset, config, talk=console)
    assert (taken.seconds, taken.job_seconds) == (None, (None,))
    assert share_out(config, plan).workers == 1
    show_plan(console, plan, config, dataset, taken)
    return console.file.getvalue()


def test_the_plan_says_what_a_job_asks_for_and_measures_nothing_here(
    tweets: Path, tiny_bert: Path
) -> None:
    keys = {"executor": "slurm", "slurm_time": "4:00:00", "slurm_gpus": 1, "slurm_cpus": 4,
            "slurm_parallel": 8, "slurm_partition": "gpu", "workers": 2}  # fmt: skip
    text = plan_text(keys, tweets, tiny_bert)
    assert (
        "On the SLURM cluster, 8 at a time at most. Each job asks for partition gpu, 4 \n"
        "CPUs, 1 GPU, a time limit of 4:00:00.\n"
        "How long it takes there is not known.\n"
    ) in text
    assert "Without effect, for jobs are trained on a cluster: workers.\n" in text
    plain = plan_text({"executor": "slurm"}, tweets, tiny_bert)
    assert "On the SLURM cluster. Each job asks for what the cluster gives.\n" in plain
    assert "Without effect" not in plain


def test_a_time_limit_in_minutes_is_said_in_words_and_processes_are_counted(
    tweets: Path, tiny_bert: Path
) -> None:
    keys = {"executor": "slurm", "slurm_time": "90", "slurm_nodes": 2, "processes": 4}
    text = plan_text(keys, tweets, tiny_bert)
    assert "Each job asks for 2 nodes, a time limit of 1 h 30 min.\n" in text
    assert "each by 4 processes on each of 2 nodes together.\n" in " ".join(text.split(" "))


def test_several_processes_a_job_are_in_the_plan_and_nothing_is_measured_for_them(
    tweets: Path, tiny_bert: Path
) -> None:
    text = plan_text({"processes": 2, "workers": 3}, tweets, tiny_bert)
    assert "seed 42, each by 2 processes together.\n" in text
    assert "How long it takes with several processes is not known.\n" in text
    assert "Without effect, for jobs are trained by several processes each: workers.\n" in text


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (["sbatch: error: invalid partition specified: gpuu",
          "allocation failure: Invalid partition name specified"], True),
        (["allocation failure: Requested node configuration is not available"], False),
    ],
)  # fmt: skip
def test_what_a_cluster_does_not_have_is_said_before_the_start_and_can_be_changed(
    said: list[str], refused: bool, programs: Programs, tweets: Path, tiny_bert: Path
) -> None:
    echo = "; ".join(f"echo '{line}' >&2" for line in said)
    programs(sbatch=f"{echo}; exit 1", sinfo="echo short")
    console = Console(file=StringIO(), width=80)
    settings = {"mode": "quick", "data": str(tweets), "label": "sentiment",
                "model": str(tiny_bert), "executor": "slurm",
                "slurm_partition": "gpuu"}  # fmt: skip
    asker = Scripted([] if refused else [("Start?", "menu")])

    assert (_confirm(Draft(asker, console, Warmup(), settings)) is BACK) == refused

    error = (
        "Error: SLURM refuses such jobs: Invalid partition name specified.\n"
        "  in slurm_partition=gpuu\n"
        "  Change what they ask for, the settings slurm_…; sinfo shows what there is.\n"
    )
    assert (error in console.file.getvalue()) == refused


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (
            ["--set", "slurm_time=90"],
            "slurm_time is for jobs on a cluster.",
            "Add --executor slurm to train on one.",
        ),
        (
            ["--executor", "slurm", "--workers", "2"],
            "--workers is for jobs on this machine.",
            "How many run at the same time on a cluster: --set slurm_parallel=N.",
        ),
        (
            ["--processes", "2", "--workers", "2"],
            "--workers is for jobs with one process each.",
            "With --processes above 1, jobs are trained one after the other: leave one of the",
        ),
    ],
)
def test_what_was_typed_and_would_do_nothing_is_refused(
    words: list[str], what: str, remedy: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["train", "quick", "demo", *words, "--logs-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert f"Error: {what}" in done.stderr
    assert remedy in done.stderr


def test_what_a_file_has_for_another_machine_is_a_note(
    write: Callable[..., Path], tweets: Path, tiny_bert: Path
) -> None:
    shared = write("a.yaml", "slurm_time: 4:00:00\nslurm_gpus: 1\nworkers: 1\n")
    words = ["train", "quick", str(tweets), "-l", "sentiment", "-m", str(tiny_bert), "--dry-run"]
    done = CliRunner().invoke(app, [*words, "--config", str(shared)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.stderr
    said = "Without effect, for jobs are trained on this machine: slurm_time, slurm_gpus."
    assert said in done.stdout.splitlines()


def test_only_settings_that_differ_from_their_defaults_are_without_effect() -> None:
    assert RunConfig().idle == ()
    assert RunConfig(slurm_gpus=0, workers=3).idle == ()
    assert RunConfig(processes=2, workers=1).idle == ()
    assert RunConfig(processes=2, workers=3).idle == ("workers",)
    assert RunConfig(slurm_gpus=1, slurm_setup=("a",)).idle == ("slurm_gpus", "slurm_setup")
    assert RunConfig(executor="slurm", slurm_gpus=1, workers=3).idle == ("workers",)


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ({}, "missing SLURM               no sbatch and no squeue: --executor slurm is for the "
             "login node of a cluster"),
        ({"sbatch": "echo slurm-wlm 22.05.8", "squeue": "", "sinfo": "echo 'debug*'; echo gpu"},
         "ok      SLURM               slurm-wlm 22.05.8, partitions: debug, gpu"),
        ({"sbatch": "echo 22.05.8", "squeue": "", "sinfo": "echo a >&2; echo no >&2; exit 1"},
         "missing SLURM               sbatch is here, but no cluster: no"),
        ({"sbatch": "echo broken >&2; false", "squeue": "", "sinfo": "echo x"},
         "missing SLURM               sbatch is here, but no cluster: broken"),
    ],
)  # fmt: skip
def test_doctor_says_whether_jobs_can_be_handed_to_a_cluster(
    programs: Programs, lines: dict[str, str], line: str
) -> None:
    programs(**lines)
    console = Console(file=StringIO(), width=80)
    assert examine(console, [])
    found = console.file.getvalue().splitlines()
    assert line in found
    assert any("extra slurm" in one and "--executor slurm" in one for one in found)
