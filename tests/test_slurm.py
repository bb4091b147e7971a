"""What SLURM is told and how its answers are read, with made commands in place of a cluster."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from llm_tool.cli.app import app
from llm_tool.cli.training import run as run_command
from llm_tool.config import make_config
from llm_tool.errors import StudioError
from llm_tool.execution import slurm
from llm_tool.execution.cluster import Place
from llm_tool.execution.remote import end_of
from llm_tool.execution.sbatch import pieces, seconds, signal_delay, waits_for
from llm_tool.execution.slurm import SlurmScheduler, submitit_scripts
from llm_tool.execution.slurm_job import become_job
from llm_tool.execution.submissions import Submissions
from llm_tool.logs import Session
from llm_tool.stopping import Detached, detachable

pytest.importorskip("submitit")
ID = "20260101_000000"
ASKED = {
    "executor": "slurm",
    "slurm_partition": "gpu",
    "slurm_account": "sociology",
    "slurm_time": "4:00:00",
    "slurm_memory": "16G",
    "slurm_cpus": 4,
    "slurm_gpus": 2,
    "slurm_nodes": 2,
    "slurm_constraint": "a100|h100",
    "slurm_parallel": 5,
    "slurm_setup": ("module load cuda", "source 'my env/bin/activate'"),
}
Commands = Callable[..., Path]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Return a function that makes the only commands there are; each notes what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(**bodies: str) -> Path:
        for name, body in {"srun": "", "squeue": "", **bodies}.items():
            path = folder / name
            path.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/given\n{body}\n', "utf-8")
            path.chmod(0o755)
        return tmp_path / "given"

    return make


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(tmp_path / "logs", ID)
    session.folder.mkdir(parents=True)
    return session


def job_ids(count: int, first: int = 1) -> list[str]:
    return [f"j{number:04d}" for number in range(first, first + count)]


def scheduler(session: Session, **keys: object) -> SlurmScheduler:
    return SlurmScheduler(session, make_config({"executor": "slurm", "threads": 1, **keys}))


ACCEPTS = "echo Submitted batch job 7"
NINE = "echo 'MaxArraySize            = 9'"


def test_every_setting_reaches_the_script(session: Session, commands: Commands) -> None:
    commands()

    (script,) = submitit_scripts(make_config(ASKED), session, jobs=12)

    flags = {line.removeprefix("#SBATCH ") for line in script.splitlines() if "#SBATCH" in line}
    (name,) = (flag for flag in flags if flag.startswith("--job-name="))
    assert name.startswith(f"--job-name=llm-tool-{ID}-")
    output = f"{session.cluster_folder.absolute()}/jobs/{name[11:]}/%A_%a_0_log.out"
    assert flags == {
        "--account=sociology",
        "--array=0-11%5",
        "--constraint='a100|h100'",
        "--cpus-per-task=4",
        "--gpus-per-node=2",
        "--mem=16G",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--open-mode=append",
        "--partition=gpu",
        "--requeue",
        "--signal=USR2@120",
        "--time=4:00:00",
        f"--output={output}",
        name,
    }
    lines = script.splitlines()
    setup = lines.index("# setup")
    assert lines[setup + 1 : setup + 5] == [
        "module load cuda",
        "source 'my env/bin/activate'",
        "export HF_HUB_OFFLINE=1",
        "export OMP_NUM_THREADS=4",
    ]
    (srun,) = (line for line in lines if line.startswith("srun "))
    assert "--open-mode=append --cpus-per-task=4" in srun


def test_what_is_not_set_is_left_to_the_cluster(session: Session, commands: Commands) -> None:
    commands()

    (script,) = submitit_scripts(make_config({"executor": "slurm"}), session, jobs=1)

    for flag in ("time", "wckey", "partition", "account", "mem", "cpus", "gpus", "array"):
        assert f"#SBATCH --{flag}" not in script


@pytest.mark.parametrize(
    ("slurm_time", "limit", "delay"),
    [("90", 5400, 120), ("1:30", 90, 22), ("4:00:00", 14400, 120), ("1-12", 129600, 120),
     ("2-3:04", 183840, 120), ("1-0:00:05", 86405, 120), ("1", 60, 15)],
)  # fmt: skip
def test_a_job_is_told_to_pause_well_before_its_time_limit(
    slurm_time: str, limit: int, delay: int
) -> None:
    assert seconds(slurm_time) == limit
    assert signal_delay(slurm_time) == delay
    assert signal_delay(None) == 120


@pytest.mark.parametrize(
    ("count", "largest", "parallel", "expected"),
    [
        (5, 9, None, [(0, 5, None)]),
        (5, 9, 3, [(0, 5, 3)]),
        (20, 9, None, [(0, 6, None), (6, 13, None), (13, 20, None)]),
        (20, 9, 7, [(0, 6, 2), (6, 13, 2), (13, 20, 3)]),
        (20, 9, 2, [(0, 6, 1), (6, 13, 1), (13, 20, 1)]),
    ],
)
def test_arrays_are_no_larger_than_the_cluster_takes_and_keep_the_limit_together(
    count: int, largest: int, parallel: int | None, expected: list[tuple[int, int, int | None]]
) -> None:
    assert pieces(count, largest, parallel) == expected
    at_once = [share or 0 for number, (_, _, share) in enumerate(expected)
               if waits_for(number, parallel) is None]  # fmt: skip
    assert parallel is None or sum(at_once) == parallel


def test_jobs_are_handed_over_in_arrays_and_nothing_but_a_path_and_a_number_is_pickled(
    session: Session, commands: Commands
) -> None:
    given = commands(sbatch=ACCEPTS, scontrol=NINE)
    hands = scheduler(session, slurm_parallel=1)

    hands.submit(job_ids(12, first=3))

    folders = sorted((session.cluster_folder / "jobs").iterdir())
    assert len(folders) == 2
    assert given.read_text().count("sbatch ") == 2
    pickled = []
    for path in session.cluster_folder.glob("jobs/*/7_*_submitted.pkl"):
        call = pickle.loads(path.read_bytes())
        assert (call.function, call.kwargs) == (become_job, {})
        pickled.append(call.args)
    jobs_file = str((session.folder / "jobs.jsonl").absolute())
    assert sorted(pickled) == [(jobs_file, index) for index in range(2, 14)]
    scripts = [path.read_text() for path in session.cluster_folder.glob("jobs/*/7_submission.sh")]
    assert sorted("--dependency=afterany:7" in script for script in scripts) == [False, True]
    assert [hands.submissions(job_id) for job_id in ("j0002", "j0003", "j0014")] == [0, 1, 1]
    assert [one.jobs for name in Submissions(session) if (one := Submissions(session).named(name))]


def test_names_are_on_disk_before_sbatch_is_called(session: Session, commands: Commands) -> None:
    noted = session.cluster_folder / "submissions.jsonl"
    commands(sbatch=f'read all < {noted}; echo "$all" > {noted}.then; exit 1')

    with pytest.raises(StudioError):
        scheduler(session).submit(["j0001"])

    (line,) = noted.read_text().splitlines()
    assert Path(f"{noted}.then").read_text().splitlines() == [line]
    facts = json.loads(line)
    assert facts["jobs"] == ["j0001"]
    assert scheduler(session).submissions("j0001") == 0  # it was not taken


def test_a_refusal_is_told_in_the_words_of_sbatch(
    session: Session, commands: Commands, capfd: pytest.CaptureFixture[str]
) -> None:
    refusal = "sbatch: error: invalid partition specified: gpu"
    commands(sbatch=f"echo '{refusal}' >&2; exit 1")

    with pytest.raises(StudioError, match="refuses the jobs: invalid partition specified: gpu"):
        scheduler(session).submit(["j0001"])
    assert capfd.readouterr().err == ""


def test_what_was_refused_leaves_nothing_to_start_jobs_with(
    session: Session, commands: Commands
) -> None:
    commands(sbatch="exit 1", scontrol=NINE)

    with pytest.raises(StudioError):
        scheduler(session).submit(job_ids(9))

    assert not [path for path in session.cluster_folder.glob("jobs/*/*") if path.is_file()]


@pytest.mark.parametrize("answer", [ACCEPTS, "exit 1"])
def test_who_leaves_while_jobs_are_handed_over_waits_until_they_can_start(
    session: Session, commands: Commands, answer: str
) -> None:
    commands(sbatch=f"kill -HUP $PPID; {answer}")

    with pytest.raises(Detached), detachable():
        scheduler(session).submit(job_ids(3))

    pickles = sorted(path.name for path in session.cluster_folder.glob("jobs/*/*.pkl"))
    assert pickles == [f"7_{n}_submitted.pkl" for n in range(3) if answer == ACCEPTS]
    assert scheduler(session).submissions("j0001") == (answer == ACCEPTS)


def test_without_submitit_or_a_cluster_errors_say_what_is_missing(
    session: Session, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudioError, match="There is no sbatch here"):
        scheduler(session).submit(["j0001"])
    (commands(sbatch=ACCEPTS).parent / "bin" / "squeue").unlink()
    with pytest.raises(StudioError, match="There is no squeue here") as refused:
        scheduler(session).submit(["j0001"])
    assert "--executor local" in refused.value.remedy
    assert scheduler(session).look() == {}  # nothing was submitted: there is nothing to ask
    monkeypatch.setattr(slurm, "find_spec", lambda _: None)
    with pytest.raises(StudioError, match="submitit") as refused:
        scheduler(session).submit(["j0001"])
    assert 'pip install "llm-tool[slurm]"' in refused.value.remedy


def test_a_run_that_cannot_be_handed_over_leaves_nothing_behind(
    tweets: Path, tiny_bert: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands()
    monkeypatch.chdir(tweets.parent)
    keys = {"data": str(tweets), "label": ["sentiment"], "model": [str(tiny_bert)]}

    with pytest.raises(StudioError, match="There is no sbatch here"):
        run_command({"executor": "slurm", **keys}, dry_run=False, as_json=True)

    assert not Path("training_logs").exists()


def test_a_folder_that_slurm_would_read_as_another_is_refused(
    tmp_path: Path, commands: Commands
) -> None:
    commands(sbatch=ACCEPTS)

    with pytest.raises(StudioError, match="percent sign"):
        scheduler(Session(tmp_path / "50%a", ID)).submit(["j0001"])


def test_the_queue_is_read_in_one_call_and_other_peoples_jobs_are_passed_over(
    session: Session, commands: Commands, tmp_path: Path
) -> None:
    given = commands(sbatch=ACCEPTS, squeue=f"/bin/cat {tmp_path}/queue")
    hands = scheduler(session)
    hands.submit(job_ids(6))
    hands.submit(["j0001"])
    many, one = Submissions(session)
    queue = [
        f"PENDING|0||{many}|Resources",
        f"RUNNING|1|n1|{many}|None",
        f"COMPLETING|2|n2|{many}|None",
        f"REQUEUED|3||{many}|BeginTime",
        f"NODE_FAIL|4|n1|{many}|NodeDown",
        f"SOMETHING_NEW|5|n1|{many}|None",
        f"RUNNING|N/A|n2|{one}|None",
        "RUNNING|1|n9|somebody-elses|None",
        f"RUNNING|99|n9|{many}|None",
        "",
    ]
    (tmp_path / "queue").write_text("\n".join(queue), "utf-8")

    assert hands.look() == {
        "j0001": Place("running", node="n2"),  # the second time it was handed over
        "j0002": Place("running", node="n1"),
        "j0003": Place("running", node="n2"),
        "j0004": Place("queued", reason="BeginTime"),
    }
    assert given.read_text().count("squeue ") == 1
    assert f"--user={os.getuid()}" in given.read_text()
    assert hands.why_lost("j0005") == "its node failed"


def test_another_process_finds_the_same_jobs_again(
    session: Session, commands: Commands, tmp_path: Path
) -> None:
    commands(sbatch=ACCEPTS, squeue=f"/bin/cat {tmp_path}/queue")
    scheduler(session).submit(job_ids(2))
    (name,) = Submissions(session)
    (tmp_path / "queue").write_text(f"RUNNING|1|n1|{name}|None\n", "utf-8")
    with (session.cluster_folder / "submissions.jsonl").open("a") as file:
        file.write('{"name": "torn')

    other = scheduler(session)

    assert other.look() == {"j0002": Place("running", node="n1")}
    other.submit(["j0001"])
    assert scheduler(session).submissions("j0001") == 2


def test_a_controller_that_is_down_gives_no_answer(session: Session, commands: Commands) -> None:
    commands(sbatch=ACCEPTS, squeue="echo slurm_load_jobs error >&2; exit 1")
    hands = scheduler(session)
    hands.submit(["j0001"])

    assert hands.look() is None


def test_accounting_is_asked_why_a_job_was_lost_where_the_queue_has_forgotten(
    session: Session, commands: Commands
) -> None:
    given = commands(sbatch=ACCEPTS, squeue="", sacct="echo OUT_OF_MEMORY")
    hands = scheduler(session)
    hands.submit(job_ids(2))

    assert hands.why_lost("j0002") == "memory ran out"
    assert "-j 7_1" in given.read_text()
    commands(sacct="echo Slurm accounting storage is disabled >&2; exit 1")
    assert hands.why_lost("j0002") == ""
    assert hands.why_lost("j0009") == ""


def test_only_what_is_in_the_queue_and_of_the_run_is_cancelled(
    session: Session, commands: Commands, tmp_path: Path
) -> None:
    given = commands(sbatch=ACCEPTS, squeue=f"/bin/cat {tmp_path}/queue", scancel="")
    hands = scheduler(session)
    hands.submit(["j0001"])
    hands.submit(["j0002"])
    hands.submit(["j0003"])  # of another run
    first, _, third = Submissions(session)
    queue = [f"RUNNING|N/A|n1|{name}|None\n" for name in (first, third)]
    (tmp_path / "queue").write_text("".join(queue), "utf-8")

    hands.cancel(["j0001", "j0002"])

    (told,) = (line for line in given.read_text().splitlines() if "scancel" in line)
    assert told == f"scancel --user={os.getuid()} --name={first}"


def test_the_newest_output_of_a_job_is_found_by_its_place_in_the_array(
    session: Session, commands: Commands
) -> None:
    commands(sbatch=ACCEPTS)
    hands = scheduler(session)
    hands.submit(job_ids(11))
    hands.submit(["j0002"])
    many, one = (session.cluster_folder / "jobs" / name for name in Submissions(session))
    assert hands.output("j0002") == ""
    for path in (many / "7_1_0_log.out", many / "7_10_0_log.out"):
        path.write_text("…", "utf-8")
    assert hands.output("j0002") == str(many / "7_1_0_log.out")
    (one / "7_0_log.out").write_text("…", "utf-8")
    os.utime(one / "7_0_log.out", (2e9, 2e9))
    assert hands.output("j0002") == str(one / "7_0_log.out")
    assert hands.output("j0011") == str(many / "7_10_0_log.out")


def test_the_end_of_an_output_is_short_and_shows_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "log.out"
    path.write_bytes(b"".join(b"line %d\n\n" % n for n in range(5000)) + b"\x1b[2Jkilled\xff")

    lines = end_of(str(path))

    assert len(lines) == 20
    assert lines[-2:] == ("line 4999", "\\x1b[2Jkilled\ufffd")
    assert end_of(str(tmp_path / "none")) == end_of("") == ()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_shows_the_scripts_without_a_cluster(
    tweets: Path,
    tiny_bert: Path,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
) -> None:
    monkeypatch.chdir(tweets.parent)
    keys = {"data": str(tweets), "label": ["sentiment"], "model": [str(tiny_bert)], "epochs": 1}

    run_command({**ASKED, **keys}, dry_run=True, as_json=as_json)

    shown = capsys.readouterr().out
    if as_json:
        last = json.loads(shown.splitlines()[-1])
        assert last["event"] == "scripts"
        (script,) = last["scripts"]
    else:
        script = shown[shown.index("#!/bin/bash") :]
    assert "#SBATCH --partition=gpu\n" in script
    assert "-m submitit.core._submit" in script
    assert not Path("training_logs").exists()


@pytest.fixture
def exported(
    tweets: Path, tiny_bert: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Result]:
    """Return the folder that ``export`` wrote scripts to, on a cluster of small arrays."""
    commands(scontrol="echo 'MaxArraySize            = 3'")
    folder = tweets.parent
    monkeypatch.chdir(folder)
    keys = {**ASKED, "mode": "benchmark", "data": "tweets.csv", "label": ["sentiment", "topic"],
            "model": [str(tiny_bert)], "seeds": [1, 2], "session_id": ID, "slurm_parallel": 1,
            "languages": "multilingual"}  # fmt: skip
    (folder / "run.yaml").write_text(json.dumps(keys), "utf-8")
    words = ["export", "--sbatch", "--config", "run.yaml", "--set", "epochs=1", "--out", "it's"]
    return folder, CliRunner().invoke(app, words)


def test_exported_scripts_need_nothing_but_the_tool(exported: tuple[Path, Result]) -> None:
    folder, done = exported

    assert done.exit_code == 0, done.stderr
    session = Session(folder / "training_logs", ID)
    name, other = Submissions(session)
    scripts = [folder / "it's" / f"{one}.sh" for one in (name, other)]
    jobs_file = f"{session.folder}/jobs.jsonl"
    assert (
        scripts[0].read_text()
        == f"""\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --partition=gpu
#SBATCH --account=sociology
#SBATCH --time=4:00:00
#SBATCH --mem=16G
#SBATCH --constraint='a100|h100'
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=2
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --array=0-1%1
#SBATCH --output={session.cluster_folder}/jobs/{name}/%A_%a_0_log.out
#SBATCH --open-mode=append
#SBATCH --signal=USR2@120
#SBATCH --chdir={folder}
#SBATCH --requeue

module load cuda
source 'my env/bin/activate'
export HF_HUB_OFFLINE=1
export OMP_NUM_THREADS=4
jobs=(0 1)
exec srun --unbuffered --open-mode=append --cpus-per-task=4 {sys.executable} -m llm_tool job run \
{jobs_file} --index "${{jobs[$SLURM_ARRAY_TASK_ID]}}"
"""
    )
    assert "jobs=(2 3)\n" in scripts[1].read_text()
    words = [f"'it'\"'\"'s/{path.name}'" for path in scripts]
    assert [line.strip() for line in done.stdout.splitlines()] == [
        f"array1=$(sbatch --parsable {words[0]})",
        f"array2=$(sbatch --parsable --dependency=afterany:$array1 {words[1]})",
        f"llm-tool resume {ID}",
    ]


def test_an_exported_run_is_in_its_session_as_one_that_goes_on_elsewhere(
    exported: tuple[Path, Result],
) -> None:
    folder, _ = exported

    facts = json.loads((folder / "training_logs" / ID / "session.json").read_text())
    (run,) = facts["runs"]
    assert (run["status"], run["jobs"]) == ("detached", job_ids(4))
    assert run["config"]["executor"] == "slurm"
    known = Submissions(Session(folder / "training_logs", ID))
    assert all(known.is_by_hand(job_id) for job_id in job_ids(4))
    assert (folder / "training_logs" / ID / ".cluster" / "run-0" / "manifest.json").exists()


def test_who_has_exported_a_run_is_told_to_submit_it_before_following_it(
    exported: tuple[Path, Result],
) -> None:
    folder, _ = exported

    shown = CliRunner().invoke(app, ["sessions"], env={"COLUMNS": "200"})

    names = list(Submissions(Session(folder / "training_logs", ID)))
    assert shown.stdout.splitlines()[-3:] == [
        *(f"Submit it, unless that is done: sbatch 'it'\"'\"'s/{name}.sh'" for name in names),
        f"Follow it: llm-tool resume {ID}",
    ]


RESUME = f"llm-tool resume {ID}"


def test_where_there_is_no_cluster_a_run_that_goes_on_elsewhere_stays_as_it_is(
    exported: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = exported
    facts = folder / "training_logs" / ID / "session.json"
    before = facts.read_bytes()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(folder))

    done = CliRunner().invoke(app, ["resume", ID])

    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert "There is no squeue here: the jobs of the session are on a SLURM cluster" in said
    assert f"They go on without you. Follow them from the cluster's login node: {RESUME}" in said
    assert facts.read_bytes() == before


def test_export_asks_which_scripts() -> None:
    done = CliRunner().invoke(app, ["export"])

    assert done.exit_code == 2
    assert "Add --sbatch." in done.stderr
