"""A run on a cluster goes on and asks for something else: more memory, another partition."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_tool.cli.app import app
from llm_tool.errors import StudioError
from llm_tool.execution.submissions import Submissions
from llm_tool.logs import Session
from llm_tool.logs.facts import read_facts
from llm_tool.modes.resume import restore
from tests.test_slurm import ID, Commands, commands  # noqa: F401 - a fixture

pytest.importorskip("submitit")


@dataclass
class Refused:
    """A run whose jobs a cluster refused, in the current folder; sbatch keeps each script."""

    folder: Path

    @property
    def session(self) -> Session:
        return Session("training_logs", ID)

    def resume(self, *words: str) -> str:
        """Resume it, and return the last script that sbatch was given."""
        (self.folder / "script").unlink(missing_ok=True)
        done = CliRunner().invoke(app, ["resume", ID, *words])
        assert done.exit_code == 2, done.stderr
        return (self.folder / "script").read_text("utf-8")

    def prepared(self) -> list[str]:
        return sorted(path.name for path in (self.session.cluster_folder / "run-0").iterdir())


@pytest.fixture
def refused(
    tweets: Path,
    tiny_bert: Path,
    commands: Commands,  # noqa: F811 - that fixture
    monkeypatch: pytest.MonkeyPatch,
) -> Refused:
    folder = tweets.parent
    monkeypatch.chdir(folder)
    commands(sbatch=f'case "$1" in -*) exit 0;; *) /bin/cp "$1" {folder}/script; exit 1;; esac')
    words = ["train", "quick", "tweets.csv", "-l", "sentiment", "--epochs", "1"]
    words += ["-m", str(tiny_bert), "--executor", "slurm", "--set", "slurm_memory=2G"]
    words += ["--session-id", ID]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.stderr
    assert "--set slurm_…=…" in done.stderr
    return Refused(folder)


def test_a_run_goes_on_with_what_its_jobs_ask_for_now_and_keeps_to_it(refused: Refused) -> None:
    assert "--mem=2G" in (refused.folder / "script").read_text("utf-8")
    prepared = refused.prepared()

    script = refused.resume("--set", "slurm_memory=8G", "--set", "slurm_setup=[module load cuda]")
    assert "--mem=8G" in script
    assert "module load cuda" in script
    assert "--mem=8G" in refused.resume()

    assert read_facts(refused.session.folder)["runs"][0]["config"]["slurm_memory"] == "8G"
    assert refused.prepared() == prepared  # no text was tokenised again


@pytest.mark.parametrize("change", [{"epochs": 2}, {"slurm_cpus": 4}, {"slurm_gpus": 1}])
def test_what_numbers_depend_on_stays_as_it_was(
    refused: Refused, change: dict[str, object]
) -> None:
    with pytest.raises(StudioError, match=f"{min(change)} is one of them") as caught:
        restore(refused.session, 0, changes=change)
    assert "slurm_memory" in caught.value.remedy


def test_what_scripts_of_the_user_ask_for_is_changed_in_them(refused: Refused) -> None:
    Submissions(refused.session).enter(["j0001"], by_hand=True)
    with pytest.raises(StudioError, match="those of the run are yours"):
        restore(refused.session, 0, changes={"slurm_memory": "8G"})


def test_a_value_that_does_not_fit_is_refused(refused: Refused) -> None:
    done = CliRunner().invoke(app, ["resume", ID, "--set", "slurm_memory=much"])
    assert done.exit_code == 2
    assert "slurm_memory" in done.stderr


def test_a_run_on_this_machine_asks_no_cluster(finished: Path) -> None:
    facts = next((finished / "training_logs").iterdir())
    with pytest.raises(StudioError, match="the run is on this machine"):
        restore(Session(facts.parent, facts.name), 0, changes={"slurm_memory": "8G"})
