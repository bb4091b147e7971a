"""A session that was interrupted, gone on with: what is done stays, what changed is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llm_tool.errors import StoppedError, StudioError
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    Event,
    JobEnded,
    JobFailed,
    JobStarted,
    RunEnded,
    RunStarted,
)
from llm_tool.execution.local import Outcome, run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.facts import fingerprint, versions
from llm_tool.modes.planning import prepare
from llm_tool.modes.resume import restore, unfinished
from tests.test_local_run import UNREPEATABLE, Runner

Observer = Callable[[Event], None]


@pytest.fixture
def runner(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Runner:
    return Runner(tmp_path, tweets, (f"EN={tiny_bert}", f"FR={tiny_bert}"))


@dataclass
class Resumed:
    """Goes on with the runner's only session; keeps what observers were told."""

    runner: Runner
    told: list[Event] = field(default_factory=list)

    def go_on(self, *observers: Observer, number: int = 0) -> Outcome:
        session = Session(self.runner.folder / "logs", self.runner.session.name)
        run = restore(session, number)
        return run_plan(
            run.plan, run.dataset, run.config, session, *observers, self.told.append, resume=number
        )

    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.told if not isinstance(event, BatchEnded)]


def stop_at(kind: type[Event], count: int = 1) -> Observer:
    """Return an observer that stops the run as Ctrl-C does, at the so-manieth event of a kind."""
    seen = []

    def observe(event: Event) -> None:
        seen.extend([event] * isinstance(event, kind))
        if len(seen) == count and isinstance(event, kind):
            raise KeyboardInterrupt

    return observe


def tables(session: Path) -> dict[str, pd.DataFrame]:
    return {
        str(path.relative_to(session)): read_metrics(path).drop(
            columns=UNREPEATABLE, errors="ignore"
        )
        for path in sorted(session.glob("*/*.csv"))
    }


def interrupt(runner: Runner, observer: Observer, **keys: object) -> Resumed:
    with pytest.raises(KeyboardInterrupt):
        runner.run(observer, learning_rate=1e-2, **keys)
    return Resumed(runner)


@pytest.mark.parametrize(
    ("observer", "kinds"),
    [
        (stop_at(RunStarted), [RunStarted, *[JobStarted, EpochEnded, EpochEnded, JobEnded] * 2]),
        (
            stop_at(EpochEnded, 3),
            [RunStarted, JobStarted, EpochEnded, JobEnded],
        ),
        (stop_at(JobEnded), [RunStarted, JobStarted, EpochEnded, EpochEnded, JobEnded]),
        (stop_at(JobEnded, 2), [RunStarted]),
    ],
    ids=["before the first job", "in the second job", "after the first", "after the last"],
)
def test_finished_jobs_are_skipped_and_the_files_end_as_without_a_break(
    runner: Runner, observer: Observer, kinds: list[type[Event]]
) -> None:
    runner.run(learning_rate=1e-2)
    whole = tables(runner.session)
    shutil.rmtree(runner.folder / "logs")

    resumed = interrupt(runner, observer)
    outcome = resumed.go_on()

    assert resumed.kinds() == [*kinds, RunEnded]
    assert [result.job.id for result in outcome.done] == ["j0001", "j0002"]
    broken = tables(runner.session)
    assert broken.keys() == whole.keys()
    for name, table in whole.items():
        pd.testing.assert_frame_equal(broken[name], table)
    assert runner.status() == "done"
    assert unfinished(Session(runner.folder / "logs", runner.session.name)) == []


def test_the_results_of_before_are_told_with_the_start_and_count_at_the_end(
    runner: Runner,
) -> None:
    resumed = interrupt(runner, stop_at(JobStarted, 2))
    done = [event for event in runner.told if isinstance(event, JobEnded)]

    resumed.go_on()

    started, ended = resumed.told[0], resumed.told[-1]
    assert isinstance(started, RunStarted)
    assert started.done == tuple(done)
    assert [job.id for job in started.jobs] == ["j0001", "j0002"]
    assert isinstance(ended, RunEnded)
    assert (ended.jobs, ended.done, ended.failed, ended.resume) == (2, 2, 0, "")


def test_the_result_of_a_shared_encoder_is_put_together_from_its_labels(runner: Runner) -> None:
    keys = {"mode": "distributed", "label": ("areas",), "shared_encoder": True, "workers": 1}
    resumed = interrupt(runner, stop_at(JobStarted, 2), **keys)
    (before,) = (event for event in runner.told if isinstance(event, JobEnded))

    outcome = resumed.go_on()

    assert resumed.kinds().count(JobEnded) == 1  # of the other language only
    assert outcome.done[0] == before


def test_a_stopped_run_says_how_to_go_on(runner: Runner) -> None:
    interrupt(runner, stop_at(EpochEnded))

    ended = runner.told[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.status, ended.jobs, ended.done) == ("interrupted", 2, 0)
    logs = runner.folder / "logs"
    assert ended.resume == f"llm-tool resume {runner.session.name} --logs-dir {logs}"


def test_what_failed_is_tried_again_and_only_that(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(tiny_bert, tmp_path / "broken")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:1000])
    runner.models = (f"EN={broken}", f"FR={tiny_bert}")
    assert len(runner.run().failed) == 1
    ended = runner.told[-1]
    assert isinstance(ended, RunEnded)
    assert ended.resume.startswith("llm-tool resume ")

    (broken / "model.safetensors").write_bytes(weights)
    resumed = Resumed(runner)
    outcome = resumed.go_on()

    assert [event.job.id for event in resumed.told if isinstance(event, JobStarted)] == ["j0001"]
    assert (len(outcome.done), len(outcome.failed)) == (2, 0)
    assert runner.status() == "done"
    assert runner.table()["language"].tolist() == ["EN", "EN", "FR", "FR"]


def test_what_fails_again_is_still_failed(runner: Runner, tiny_bert: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny_bert, tmp_path / "broken")
    (broken / "config.json").write_text('{"model_type": "surprise"}')
    runner.models = (f"EN={broken}", f"FR={tiny_bert}")
    runner.run()

    outcome = Resumed(runner).go_on()

    assert (len(outcome.done), len(outcome.failed)) == (1, 1)
    assert runner.status() == "failed"
    journal = runner.session / "sentiment" / "runs" / "j0001" / "journal.jsonl"
    assert len(journal.read_text("utf-8").splitlines()) == 2
    assert isinstance(outcome.failed[0], JobFailed)


def test_changed_data_are_noticed_and_nothing_is_touched(runner: Runner) -> None:
    resumed = interrupt(runner, stop_at(EpochEnded))
    before = {p: p.read_bytes() for p in runner.session.rglob("*") if p.is_file()}
    text = runner.tweets.read_text("utf-8")
    runner.tweets.write_text(text.replace("t7,", "t7777,"), "utf-8")

    with pytest.raises(StudioError, match="the file was changed") as caught:
        resumed.go_on()
    assert caught.value.where == str(runner.tweets)
    assert "llm-tool train quick" in caught.value.remedy
    assert {p: p.read_bytes() for p in runner.session.rglob("*") if p.is_file()} == before

    runner.tweets.write_text(text, "utf-8")
    assert len(resumed.go_on().done) == 2


def test_missing_data_are_said_to_be_missing(runner: Runner) -> None:
    resumed = interrupt(runner, stop_at(EpochEnded))
    runner.tweets.unlink()

    with pytest.raises(StudioError) as caught:
        resumed.go_on()
    assert caught.value.where == str(runner.tweets)


@pytest.mark.parametrize(
    "change", [{"epochs": 5}, {"seed": 7}, {"label": ["topic"]}, {"validation_share": 0.3}]
)
def test_changed_settings_are_noticed(runner: Runner, change: dict[str, Any]) -> None:
    resumed = interrupt(runner, stop_at(EpochEnded))
    path = runner.session / "session.json"
    facts = json.loads(path.read_text("utf-8"))
    facts["runs"][0]["config"] |= change
    path.write_text(json.dumps(facts), "utf-8")

    with pytest.raises(StudioError, match="settings of the run were changed") as caught:
        resumed.go_on()
    assert caught.value.where == str(path)


def test_a_plan_that_comes_out_otherwise_is_refused(runner: Runner) -> None:
    resumed = interrupt(runner, stop_at(EpochEnded))
    path = runner.session / "jobs.jsonl"
    path.write_text(path.read_text("utf-8").replace('"seed": 42', '"seed": 43'), "utf-8")

    with pytest.raises(StudioError, match="give another plan now"):
        resumed.go_on()


def test_another_folder_is_refused_where_paths_mean_something_else(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "a project"
    there.mkdir()
    monkeypatch.chdir(there)
    resumed = interrupt(runner, stop_at(EpochEnded))
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StudioError, match="another folder") as caught:
        resumed.go_on()
    assert caught.value.where == str(there)
    assert f"cd '{there}' && llm-tool resume" in caught.value.remedy

    there.rename(tmp_path / "moved")  # then nobody can go there any more
    monkeypatch.chdir(tmp_path / "moved")
    assert len(resumed.go_on().done) == 2


def test_other_versions_of_libraries_are_told(runner: Runner) -> None:
    interrupt(runner, stop_at(EpochEnded))
    path = runner.session / "session.json"
    now = versions()["torch"]
    path.write_text(path.read_text("utf-8").replace(f'"torch": "{now}"', '"torch": "1.0"'))

    session = Session(runner.folder / "logs", runner.session.name)
    (note,) = restore(session, 0).notes
    assert note.startswith(f"torch was 1.0 and is {now} now")


def test_how_far_the_table_is_read_again_is_told(runner: Runner) -> None:
    interrupt(runner, stop_at(EpochEnded))
    told: list[tuple[int, int]] = []
    session = Session(runner.folder / "logs", runner.session.name)
    restore(session, 0, lambda done, total: told.append((done, total)))
    assert told
    assert told[-1][0] == told[-1][1]


def test_a_session_that_is_not_there_makes_no_folder(runner: Runner) -> None:
    with pytest.raises(StudioError, match="no such session"):
        unfinished(Session(runner.folder / "logs", "20200101_000000"))
    assert not (runner.folder / "logs").exists()


def test_every_unfinished_run_of_a_session_is_found(runner: Runner) -> None:
    interrupt(runner, stop_at(EpochEnded))
    runner.run(session_id=runner.session.name, epochs=1)
    interrupt(runner, stop_at(JobEnded), session_id=runner.session.name, label=("topic",))

    session = Session(runner.folder / "logs", runner.session.name)
    assert unfinished(session) == [0, 2]
    assert runner.status() == "interrupted"
    resumed = Resumed(runner)
    resumed.go_on(number=2)
    assert unfinished(session) == [0]
    assert runner.status() == "interrupted"
    resumed.go_on(number=0)
    assert runner.status() == "done"
    assert runner.table()["model_identifier"].unique().tolist() == [
        "j0001", "j0002", "j0003", "j0004"
    ]  # fmt: skip
    assert len(runner.table(category="topic")) == 4


@pytest.mark.parametrize("kind", [JobStarted, EpochEnded, JobEnded])
def test_a_folder_that_is_lost_in_mid_run_stops_it_and_is_gone_on_with_when_it_is_back(
    runner: Runner, kind: type[Event]
) -> None:
    runner.run(learning_rate=1e-2)
    whole = tables(runner.session)
    shutil.rmtree(runner.folder / "logs")
    away = runner.folder / "away"

    def lose(event: Event) -> None:
        if isinstance(event, kind) and not away.exists():
            (runner.folder / "logs").rename(away)  # as a network disk goes away

    with pytest.raises(StoppedError) as caught:
        runner.run(lose, learning_rate=1e-2)
    assert "llm-tool resume" in caught.value.remedy
    assert not (runner.folder / "logs").exists()  # nothing was made in its place

    away.rename(runner.folder / "logs")
    assert len(Resumed(runner).go_on().done) == 2
    for name, table in tables(runner.session).items():
        pd.testing.assert_frame_equal(table, whole[name])


def test_a_job_is_trained_in_one_place_only(runner: Runner) -> None:
    resumed = interrupt(runner, stop_at(EpochEnded))
    refused: list[StudioError] = []

    def meanwhile(event: Event) -> None:
        if isinstance(event, EpochEnded) and not refused:
            with pytest.raises(StudioError, match="still being trained") as caught:
                Resumed(runner).go_on()
            refused.append(caught.value)

    resumed.go_on(meanwhile)
    assert refused
    assert runner.status() == "done"


def test_workers_go_on_with_interrupted_jobs(runner: Runner, tiny_bert: Path) -> None:
    runner.models = (str(tiny_bert),)
    keys = {"mode": "distributed", "label": ("topic",), "workers": 2, "epochs": 3}
    runner.run(learning_rate=1e-2, **keys)
    whole = tables(runner.session)
    shutil.rmtree(runner.folder / "logs")

    resumed = interrupt(runner, stop_at(EpochEnded, 4), **keys)
    broken = tables(runner.session)
    recorded = sum(len(table) for name, table in broken.items() if "training" in name)
    outcome = resumed.go_on()

    assert len(outcome.done) == 3
    assert resumed.kinds().count(EpochEnded) == 9 - recorded
    broken = tables(runner.session)
    for name, table in whole.items():
        pd.testing.assert_frame_equal(broken[name], table)


def test_a_run_of_before_near_duplicates_were_kept_together_keeps_its_split(
    runner: Runner,
) -> None:
    sentence = "the minister said today that the new climate law will be voted on before summer"
    with runner.tweets.open("a") as file:
        for i in range(9):
            label = ("positive", "negative")[i % 2]
            file.write(f"u{i},{sentence} {i},{('en', 'fr')[i % 2]},{label},law,law\n")
    interrupt(runner, stop_at(RunStarted), near_duplicates="ignore")
    path = runner.session / "session.json"
    facts = json.loads(path.read_text("utf-8"))
    (run,) = facts["runs"]
    del run["config"]["near_duplicates"]
    run["fingerprint"] = fingerprint(run)
    path.write_text(json.dumps(facts), "utf-8")

    restored = restore(Session(runner.folder / "logs", runner.session.name), 0)

    assert restored.config.near_duplicates == "ignore"
    assert not any("near duplicate" in note for note in restored.plan.notes)
    _, together = prepare(restored.config.model_copy(update={"near_duplicates": "together"}))
    assert any("near duplicate" in note for note in together.notes)
    assert together.parts != restored.plan.parts
