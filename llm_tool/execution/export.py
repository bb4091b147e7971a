"""Write a run as plain scripts for sbatch, for clusters where submitit cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.events import JobFailed, Observer
from llm_tool.execution.prepared import job_command, prepare_jobs
from llm_tool.execution.resources import share_out
from llm_tool.execution.sbatch import check_folder, pieces, plain_script, waits_for
from llm_tool.execution.slurm import largest_array
from llm_tool.execution.space import check_space
from llm_tool.execution.submissions import Submissions
from llm_tool.logs.files import disk_errors, replacing
from llm_tool.logs.journal import job_number
from llm_tool.logs.session import Session
from llm_tool.plan import Plan
from llm_tool.stopping import Detached
from llm_tool.text import shell_word


@dataclass(frozen=True)
class Exported:
    """The scripts of a run, the commands that submit them, and the jobs that cannot be trained."""

    scripts: tuple[Path, ...]
    commands: tuple[str, ...]
    failed: tuple[JobFailed, ...]


def export_scripts(
    plan: Plan,
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    out: Path | None = None,
    show: Observer = lambda _: None,
) -> Exported:
    """Enter a run into its session as detached, prepare its jobs, and write its scripts.

    Args:
        plan: The jobs and their rows.
        dataset: The rows.
        config: The settings, for the executor slurm.
        session: Where to record.
        out: The folder for the scripts; in the session's own where none is given.
        show: Told what is being prepared, and how far that is.

    Raises:
        StudioError: A folder cannot be written, or there is not enough space for the run.
    """
    config = share_out(config, plan)
    check_folder(session.cluster_folder)
    check_folder(Path.cwd())
    check_space(plan.jobs, config, session.logs_dir)
    about = {"name": dataset.name, "sha256": dataset.sha256}
    # The run is over here, but goes on elsewhere: as if somebody had followed it, and left.
    with (
        suppress(Detached),
        session.run(plan.jobs, config.model_dump(mode="json"), about, plan.accounts) as jobs,
    ):
        trainings = list(zip(jobs, plan.parts, strict=True))
        ready, failed = prepare_jobs(trainings, dataset, config, session, show)
        for failure in failed:
            session.record(failure)
        scripts = list(_scripts([job.id for job, _ in ready], config, session, out))
        raise Detached
    return Exported(tuple(scripts), tuple(_commands(scripts, config.slurm_parallel)), tuple(failed))


def _scripts(
    job_ids: Sequence[str], config: RunConfig, session: Session, out: Path | None
) -> Iterator[Path]:
    """Write a script for each array of jobs, and yield its path."""
    known = Submissions(session)
    for first, last, share in pieces(len(job_ids), largest_array(), config.slurm_parallel):
        own = job_ids[first:last]
        made = known.enter(own, by_hand=True, folder=out or session.cluster_folder)
        prints_to = known.folder(made)
        indices = [job_number(job_id) - 1 for job_id in own]
        command = job_command(session, own[0])[:-1]
        text = plain_script(config, made.name, command, indices, share, prints_to.absolute())
        path = Path(made.script)
        with disk_errors(path, "Writing a script"):
            prints_to.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(text)
        yield path


def _commands(scripts: Sequence[Path], parallel: int | None) -> Iterator[str]:
    """Yield the commands that submit scripts, so that arrays wait for others where they must."""
    chained = any(waits_for(number, parallel) is not None for number in range(len(scripts)))
    for number, path in enumerate(scripts):
        word = shell_word(str(path))
        before = waits_for(number, parallel)
        after = "" if before is None else f" --dependency=afterany:$array{before + 1}"
        sbatch = f"sbatch{after} {word}"
        yield f"array{number + 1}=$(sbatch --parsable{after} {word})" if chained else sbatch
