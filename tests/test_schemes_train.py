"""A run on a table in the long format: trained, broken off and gone on with as on plain columns."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from llm_tool.events import EpochEnded
from tests.test_local_run import Runner
from tests.test_resume import interrupt, stop_at, tables
from tests.test_schemes import as_csv


def in_long_format(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shared = ["id", "text", "lang"]
    return as_csv(
        [*shared, "variable", "value"],
        [
            [*(row[name] for name in shared), key, row[key]]
            for row in rows
            for key in ("sentiment", "topic")
        ],
    )


@pytest.fixture
def runner(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Runner:
    return Runner(tmp_path, tweets, (f"EN={tiny_bert}", f"FR={tiny_bert}"))


def test_a_long_table_trains_and_resumes_to_the_scores_of_plain_columns(runner: Runner) -> None:
    runner.run(learning_rate=1e-2)
    plain = tables(runner.session)
    shutil.rmtree(runner.folder / "logs")

    long = runner.folder / "long.csv"
    long.write_text(in_long_format(runner.tweets), "utf-8")
    runner.tweets = long
    outcome = interrupt(runner, stop_at(EpochEnded, 3)).go_on()

    assert outcome.failed == ()
    found = tables(runner.session)
    assert found.keys() == plain.keys()
    for name, table in found.items():
        models = [column for column in table if column == "saved_model_path"]
        assert table.drop(columns=models).equals(plain[name].drop(columns=models)), name
