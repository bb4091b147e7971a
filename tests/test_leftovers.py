"""What stays of a run on a cluster when it is over, and what nobody needs any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_tool.execution.leftovers import tidy_up
from llm_tool.execution.prepared import prepare_jobs
from llm_tool.execution.submissions import Submission, Submissions
from tests.jobs_by_hand import Prepared, prepared, settings


@pytest.fixture
def own(tweets: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """Return a run of three jobs that were prepared and handed over."""
    monkeypatch.chdir(tmp_path)
    own = prepared(settings(tweets, tiny_bert, seeds=(1, 2, 3), mode="custom"))
    known = Submissions(own.session)
    jobs = [job.id for job, _ in own.trainings]
    fill(known.folder(known.enter(jobs)), "7", [0, 1, 2])
    fill(known.folder(known.enter(jobs[1:2])), "8", None)
    fill(known.folder(known.enter(["j0009"])), "9", None)  # of another run
    return own


def fill(folder: Path, number: str, tasks: list[int] | None) -> None:
    """Write what submitit and jobs write for an array, or for a job that is none."""
    folder.mkdir(parents=True)
    (folder / f"{number}_submission.sh").write_text("")
    (folder / ".submission_file_1.sh").symlink_to(f"{number}_submission.sh")
    for name in [number] if tasks is None else [f"{number}_{task}" for task in tasks]:
        (folder / f"{name}_submitted.pkl").write_text("")
        (folder / f"{name}_0_log.out").write_text("…")


def left(own: Prepared) -> list[str]:
    folder = own.session.cluster_folder
    names = list(Submissions(own.session))
    found = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(
        "/".join(str(names.index(part)) if part in names else part for part in path.parts)
        for path in found
    )


OTHERS = [
    "jobs/2/.submission_file_1.sh", "jobs/2/9_0_log.out", "jobs/2/9_submission.sh",
    "jobs/2/9_submitted.pkl", "submissions.jsonl",
]  # fmt: skip


def test_of_a_run_that_is_done_nothing_stays_but_what_was_submitted(own: Prepared) -> None:
    jobs = [job for job, _ in own.trainings]

    tidy_up(own.session, jobs, {job.id for job in jobs})

    assert left(own) == OTHERS
    assert not (own.session.cluster_folder / "run-0").exists()
    assert own.session.jobs() == tuple(jobs)


def test_where_a_job_failed_its_output_and_what_was_prepared_stay(own: Prepared) -> None:
    jobs = [job for job, _ in own.trainings]
    ready = (own.session.cluster_folder / "run-0" / "manifest.json").read_bytes()

    tidy_up(own.session, jobs, {"j0001", "j0003"})

    kept = [path for path in left(own) if not path.startswith("run-0/")]
    assert kept == ["jobs/0/7_1_0_log.out", "jobs/1/8_0_log.out", *OTHERS]
    assert prepare_jobs(own.trainings[1:2], own.dataset, own.config, own.session)[1] == []
    assert (own.session.cluster_folder / "run-0" / "manifest.json").read_bytes() == ready


def test_a_submission_whose_jobs_are_of_another_run_is_left_alone(own: Prepared) -> None:
    before = left(own)

    tidy_up(own.session, [], set())

    assert left(own) == before


def test_several_processes_of_a_submission_print_to_a_file_each(own: Prepared) -> None:
    known = Submissions(own.session)
    jobs = [job for job, _ in own.trainings]
    made: Submission = known.enter([job.id for job in jobs])
    folder = known.folder(made)
    folder.mkdir()
    for name in ("5_1_0_log.out", "5_1_1_log.out", "5_2_1_log.err", "notes.txt"):
        (folder / name).write_text("…")

    tidy_up(own.session, jobs, {"j0003"})

    assert sorted(path.name for path in folder.iterdir()) == [
        "5_1_0_log.out", "5_1_1_log.out", "notes.txt",
    ]  # fmt: skip
