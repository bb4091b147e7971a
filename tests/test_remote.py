"""What the owner of a session does about its jobs, on a made cluster that trains them here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.errors import StoppedError, StudioError
from llm_tool.events import ClusterSeen, EpochEnded, Event, JobEnded, JobEvent, JobFailed
from llm_tool.execution import remote
from llm_tool.execution.cluster import Place
from llm_tool.execution.collector import Collector
from llm_tool.execution.job import find_job, prepared_for, train_prepared
from llm_tool.execution.local import run_plan
from llm_tool.execution.remote import train_on_cluster
from llm_tool.execution.resources import share_out
from llm_tool.execution.submissions import Submissions
from llm_tool.logs import Session, journal, read_metrics
from llm_tool.logs.claim import Claim, Replaced
from llm_tool.modes.planning import prepare
from llm_tool.plan import Job
from llm_tool.stopping import Detached

UNREPEATABLE = ["timestamp", "seconds", "tokens_per_second", "saved_model_path"]
REFUSAL = "SLURM refuses the jobs: QOSMaxSubmitJobPerUserLimit"


@dataclass
class MadeCluster:
    """Trains the first job of its queue while its owner pauses.

    ``loses`` is how often a job vanishes untrained, ``fails`` are jobs that say that they failed,
    ``silent`` are the looks that get no answer, ``takes`` is how many jobs may be in the queue;
    of submissions with the numbers ``unclear``, sbatch says that they failed, and SLURM nothing;
    ``mute`` is how many looks get no answer from when a job is to be handed over again.
    """

    session: Session
    loses: Counter[str] = field(default_factory=Counter)
    fails: set[str] = field(default_factory=set)
    silent: Sequence[int] = ()
    takes: int = 99
    all_or_none: bool = False
    unclear: Sequence[int] = ()
    mute: int = 0
    queue: list[str] = field(default_factory=list)
    handed: list[list[str]] = field(default_factory=list)
    looks: int = 0
    cancelled: bool = False
    log: str = ""

    def submit(self, job_ids: Sequence[str]) -> None:
        if self.handed and self.mute:
            self.silent = range(self.looks + 1, self.looks + 1 + self.mute)
            self.mute = 0
            raise StudioError("SLURM refuses the jobs: Unable to contact slurm controller")
        room = self.takes - len(self.queue)
        if self.all_or_none and len(job_ids) > room:
            room = 0
        self.queue += job_ids[:room]
        self.handed.append(list(job_ids[:room]))
        if len(self.handed) in self.unclear:
            self.silent = (self.looks + 1,)
            raise StudioError("Socket timed out on send/recv operation")
        if len(job_ids) > room:
            raise StudioError(REFUSAL)

    def look(self) -> Mapping[str, Place] | None:
        self.looks += 1
        if self.looks in self.silent:
            return None
        places = {job_id: Place("queued", reason="Resources") for job_id in self.queue}
        return places | {job_id: Place("running", node="n1") for job_id in self.queue[:1]}

    def submissions(self, job_id: str) -> int:
        return sum(job_id in own for own in self.handed)

    def output(self, job_id: str) -> str:
        return self.log if self.submissions(job_id) else ""

    def why_lost(self, job_id: str) -> str:
        return "its node failed" if self.submissions(job_id) else ""

    def cancel(self, _: Sequence[str]) -> None:
        self.cancelled = True
        self.queue.clear()

    def pause(self, _: float) -> None:
        assert self.looks < 40, "it would go on for ever"
        if not self.queue:
            return
        job_id = self.queue.pop(0)
        if self.loses[job_id]:
            self.loses[job_id] -= 1
            return
        own, job = find_job(self.session.folder / "jobs.jsonl", int(job_id[1:]) - 1)
        if job_id in self.fails:
            self.fails.remove(job_id)
            journal.append(own.run_folder(job), JobFailed(job, what="Memory ran out."))
            return
        assert train_prepared(own, job, *prepared_for(own, job), lambda _: None) == "done"


@dataclass
class Owner:
    """Follows one run of three jobs; keeps what observers were told."""

    keys: dict[str, object]
    session: Session
    cluster: MadeCluster
    told: list[Event] = field(default_factory=list)
    on_event: Callable[[Event], None] = lambda _: None

    def show(self, event: Event) -> None:
        self.told.append(event)
        self.on_event(event)

    def follow(self, *, again: bool = False, **keys: object) -> list[JobEnded | JobFailed]:
        config = make_config(self.keys | keys)
        dataset, plan = prepare(config)
        config = share_out(config, plan)
        about = {"name": dataset.name, "sha256": dataset.sha256}
        entered = (
            self.session.rerun(0)
            if again
            else self.session.run(plan.jobs, config.model_dump(mode="json"), about)
        )
        with entered as jobs:
            trainings = [
                (job, parts)
                for job, parts in zip(jobs, plan.parts, strict=True)
                if not self.session.is_finished(job)
            ]
            return list(
                train_on_cluster(
                    trainings, dataset, config, self.session, self.show, self.cluster,
                    self.cluster.pause,
                )
            )  # fmt: skip

    @property
    def seen(self) -> list[ClusterSeen]:
        return [event for event in self.told if isinstance(event, ClusterSeen)]

    @property
    def news(self) -> list[str]:
        return [news for seen in self.seen for news in seen.news]


ID = "20260101_000000"


@pytest.fixture
def owner(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Owner:
    keys = {
        "mode": "distributed", "data": str(tweets), "label": ("topic",), "epochs": 1,
        "model": (str(tiny_bert),), "executor": "slurm", "batch_size": 8, "learning_rate": 1e-2,
        "logs_dir": str(tmp_path / "logs"), "models_dir": str(tmp_path / "models"),
    }  # fmt: skip
    session = Session(tmp_path / "logs", ID)
    return Owner(keys, session, MadeCluster(session))


def ids(results: Sequence[JobEnded | JobFailed], kind: type = JobEnded) -> list[str]:
    return [result.job.id for result in results if isinstance(result, kind)]


def tables(folder: Path) -> list[object]:
    return [
        read_metrics(path).drop(columns=UNREPEATABLE, errors="ignore").to_csv()
        for path in sorted(folder.glob("*/*.csv"))
    ]


def test_jobs_are_collected_into_the_files_of_a_local_run(owner: Owner, tmp_path: Path) -> None:
    results = owner.follow()

    assert ids(results) == ["j0001", "j0002", "j0003"]
    assert owner.cluster.handed == [["j0001", "j0002", "j0003"]]
    local = make_config(owner.keys | {"executor": "local", "logs_dir": str(tmp_path / "local"),
                                      "threads": 1, "workers": 1})  # fmt: skip
    dataset, plan = prepare(local)
    session = Session(tmp_path / "local")
    run_plan(plan, dataset, local, session)
    assert len(tables(session.folder)) == 6
    assert tables(owner.session.folder) == tables(session.folder)


def test_how_jobs_stand_is_told_when_it_changes(owner: Owner) -> None:
    owner.follow()

    counts = [(seen.queued, len(seen.running), seen.done) for seen in owner.seen]
    assert counts == [(3, 0, 0), (1, 1, 1), (0, 1, 2), (0, 0, 3)]
    assert [seen.waiting for seen in owner.seen] == ["", "Resources", "", ""]
    (running,) = owner.seen[1].running
    assert (running.job.id, running.node, running.epoch) == ("j0002", "n1", 0)


def test_a_lost_job_is_submitted_again_and_ends_as_if_nothing_had_been(owner: Owner) -> None:
    owner.cluster.loses["j0002"] = 2

    results = owner.follow()

    assert sorted(ids(results)) == ["j0001", "j0002", "j0003"]
    assert owner.cluster.handed == [["j0001", "j0002", "j0003"], ["j0002"], ["j0002"]]
    assert [news.partition(" was lost: ")[2] for news in owner.news] == [
        "its node failed. It was submitted again (1 of 3).",
        "its node failed. It was submitted again (2 of 3).",
    ]


def test_a_cluster_that_falls_silent_when_it_is_handed_a_lost_job_is_asked_again(
    owner: Owner,
) -> None:
    owner.cluster.loses["j0001"] = 1
    owner.cluster.mute = 2

    results = owner.follow()

    assert sorted(ids(results)) == ["j0001", "j0002", "j0003"]
    assert owner.cluster.handed == [["j0001", "j0002", "j0003"], ["j0001"]]
    assert any("not answered since" in seen.waiting for seen in owner.seen)


def test_a_job_that_is_lost_too_often_fails_with_the_end_of_its_output(
    owner: Owner, tmp_path: Path
) -> None:
    owner.cluster.loses["j0002"] = 9
    owner.cluster.log = str(tmp_path / "log.out")
    Path(owner.cluster.log).write_text("…\nslurmstepd: oom-kill\x1b\n", "utf-8")

    results = owner.follow(slurm_resubmit=1)

    assert sorted(ids(results)) == ["j0001", "j0003"]
    (failed,) = (result for result in results if isinstance(result, JobFailed))
    assert failed.what.splitlines() == [
        "The job was lost 2 times before its end, at last as its node failed.",
        "…",
        "slurmstepd: oom-kill\\x1b",
    ]
    assert failed.where == owner.cluster.log
    path = owner.session.run_folder(failed.job) / "journal.jsonl"
    assert list(journal.read_events(path)) == [failed]
    assert owner.told.count(failed) == 1
    assert owner.seen[-1].failed == 1
    assert '"status": "failed"' in (owner.session.folder / "session.json").read_text()


def test_a_job_that_failed_because_it_was_lost_is_taken_from_a_process_that_still_trains_it(
    owner: Owner,
) -> None:
    owner.cluster.loses["j0002"] = 9
    claims: list[Claim] = []

    def claim(event: Event) -> None:
        if not claims:
            claims.append(Claim(owner.session.run_folder(owner.session.jobs()[1])))

    owner.on_event = claim
    owner.follow(slurm_resubmit=0)

    with pytest.raises(Replaced):
        claims[0].check()


def test_a_job_that_says_itself_how_it_failed_is_neither_repeated_nor_recorded_twice(
    owner: Owner,
) -> None:
    owner.cluster.fails.add("j0001")

    results = owner.follow()

    assert ids(results, JobFailed) == ["j0001"]
    assert owner.cluster.submissions("j0001") == 1
    folder = owner.session.run_folder(owner.session.jobs()[0])
    assert len(list(journal.read_events(folder / "journal.jsonl"))) == 1
    assert '"status": "failed"' in (owner.session.folder / "session.json").read_text()

    assert ids(owner.follow(again=True)) == ["j0001"]  # which asks for it again
    assert '"status": "done"' in (owner.session.folder / "session.json").read_text()


def test_nothing_is_submitted_again_while_the_controller_does_not_answer(owner: Owner) -> None:
    owner.cluster.silent = (2, 3)

    results = owner.follow()

    assert ids(results) == ["j0001", "j0002", "j0003"]
    assert len(owner.cluster.handed) == 1
    assert any(seen.waiting.startswith("SLURM has not answered since ") for seen in owner.seen)
    assert owner.seen[-1].waiting == ""


def test_nothing_is_submitted_before_the_first_answer(owner: Owner) -> None:
    owner.cluster.silent = (1, 2)

    assert len(owner.follow()) == 3
    assert len(owner.cluster.handed) == 1


def stop_at_first_result(owner: Owner, how: type[BaseException]) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, JobEnded):
            raise how

    owner.on_event = stop
    with pytest.raises(how):
        owner.follow()
    owner.on_event = lambda _: None
    owner.told.clear()


def test_ctrl_c_cancels_the_jobs_and_resuming_submits_those_that_are_not_done(
    owner: Owner,
) -> None:
    stop_at_first_result(owner, KeyboardInterrupt)

    assert owner.cluster.cancelled
    assert '"status": "interrupted"' in (owner.session.folder / "session.json").read_text()

    assert ids(owner.follow(again=True)) == ["j0002", "j0003"]
    assert owner.cluster.handed[1:] == [["j0002", "j0003"]]


def test_who_detaches_leaves_the_jobs_alone_and_who_comes_back_submits_none_of_them(
    owner: Owner,
) -> None:
    stop_at_first_result(owner, Detached)

    assert not owner.cluster.cancelled
    assert '"status": "detached"' in (owner.session.folder / "session.json").read_text()
    owner.cluster.pause(0)  # meanwhile another one is trained

    assert ids(owner.follow(again=True)) == ["j0003"]
    assert owner.cluster.handed == [["j0001", "j0002", "j0003"]]
    assert owner.seen[0].done == 2
    epochs = [event.job.id for event in owner.told if isinstance(event, EpochEnded)]
    assert epochs == ["j0003"]
    assert len(tables(owner.session.folder)) == 6


def test_a_job_that_is_lost_after_its_owner_came_back_has_all_its_new_submissions(
    owner: Owner,
) -> None:
    stop_at_first_result(owner, Detached)
    owner.cluster.loses["j0002"] = 1

    results = owner.follow(again=True, slurm_resubmit=1)

    assert sorted(ids(results)) == ["j0002", "j0003"]


def test_a_cluster_that_takes_no_more_is_asked_again_when_jobs_are_done(owner: Owner) -> None:
    owner.cluster.takes = 2

    results = owner.follow()

    assert ids(results) == ["j0001", "j0002", "j0003"]
    assert owner.cluster.handed == [["j0001", "j0002"], ["j0003"]]
    assert owner.news == [f"{REFUSAL} The others wait until fewer are in the queue."]


def test_a_cluster_that_takes_no_job_at_all_ends_the_run(owner: Owner) -> None:
    owner.cluster.takes = 0

    with pytest.raises(StudioError, match=REFUSAL):
        owner.follow()


def test_a_cluster_whose_limit_is_below_one_array_is_given_fewer(owner: Owner) -> None:
    owner.cluster.all_or_none, owner.cluster.takes = True, 2

    results = owner.follow()

    assert ids(results) == ["j0001", "j0002", "j0003"]
    assert [len(handed) for handed in owner.cluster.handed] == [0, 1, 2]
    assert owner.news == [f"{REFUSAL} The others wait until fewer are in the queue."]


def test_jobs_that_were_taken_although_sbatch_failed_are_not_handed_over_twice(
    owner: Owner,
) -> None:
    owner.cluster.unclear = (1, 2)
    owner.cluster.loses["j0002"] = 1

    results = owner.follow(slurm_resubmit=1)

    assert sorted(ids(results)) == ["j0001", "j0002", "j0003"]
    assert owner.cluster.handed == [["j0001", "j0002", "j0003"], ["j0002"]]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the jobs whose journals are read at once, as time goes on."""
    read: list[list[str]] = []
    collect = Collector.collect

    def collecting(self: Collector, jobs: Sequence[Job]) -> list[JobEvent]:
        read.append([job.id for job in jobs])
        return collect(self, jobs)

    monkeypatch.setattr(Collector, "collect", collecting)
    return read


def test_the_journals_of_many_jobs_are_read_some_at_a_time(
    owner: Owner, read: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_AT_ONCE", 2)

    assert ids(owner.follow()) == ["j0001", "j0002", "j0003"]
    assert read[:2] == [["j0001", "j0002"], ["j0003"]]


def test_of_jobs_that_wait_no_journal_is_opened_while_the_controller_does_not_answer(
    owner: Owner, read: list[list[str]]
) -> None:
    owner.cluster.silent = (3,)

    owner.follow()

    assert read[0] == ["j0001", "j0002", "j0003"]
    assert read[2] == ["j0002"]  # which ran at the last answer


def test_jobs_that_are_submitted_again_keep_to_the_limit_of_those_that_run(owner: Owner) -> None:
    owner.cluster.loses["j0001"] = 1

    results = owner.follow(slurm_parallel=1)

    assert ids(results) == ["j0002", "j0003", "j0001"]
    assert owner.cluster.handed == [["j0001", "j0002", "j0003"], ["j0001"]]


def test_jobs_of_exported_scripts_are_followed_but_never_submitted(owner: Owner) -> None:
    owner.session._create()
    job_ids = ["j0001", "j0002", "j0003"]
    Submissions(owner.session).enter(job_ids, by_hand=True)
    owner.cluster.queue = list(job_ids)

    assert ids(owner.follow()) == job_ids
    assert owner.cluster.handed == []


def test_who_follows_exported_scripts_says_when_none_of_their_jobs_is_in_the_queue(
    owner: Owner,
) -> None:
    owner.session._create()
    folder = owner.session.cluster_folder
    known = Submissions(owner.session)
    made = known.enter(["j0001", "j0002", "j0003"], by_hand=True, folder=folder)
    Path(made.script).touch()
    owner.cluster.queue = ["j0001", "j0002"]
    owner.cluster.fails.add("j0001")

    with pytest.raises(StoppedError, match="The session has 1 job to do") as stopped:
        owner.follow()
    assert f"They are yours to submit: sbatch {folder}/{made.name}.sh. " in stopped.value.remedy

    assert owner.cluster.handed == []
    assert (owner.seen[-1].done, owner.seen[-1].failed) == (1, 1)
    assert '"status": "interrupted"' in (owner.session.folder / "session.json").read_text()
