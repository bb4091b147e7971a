"""A session with a learning curve in everything that reads sessions: its shares are no rivals."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from llm_tool.analysis.label_errors import label_errors
from llm_tool.analysis.learning_curve import describe, learning_curves
from llm_tool.analysis.report.render import KINDS, Kind, render
from llm_tool.logs.archive import Archive, Training, read_session
from llm_tool.logs.metrics_csv import COMMENT_LINES
from llm_tool.logs.overview import list_sessions
from llm_tool.studio.compare import compare_sessions, show_comparison
from llm_tool.studio.session_json import session_line
from llm_tool.studio.session_view import best_of, show_session
from tests.conftest import tweets_csv
from tests.test_local_run import Runner

SHARES = ["25 %", "50 %", "75 %", "100 %"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Archive:
    """Return a session, only to be read, of two models with a learning curve each.

    What learned from a part of the rows is made the best of all on validation.
    """
    folder = tmp_path_factory.mktemp("curves")
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    shutil.copytree(tiny_bert, other := folder / "other-bert")
    runner = Runner(folder, folder / "tweets.csv", (str(tiny_bert), str(other)))
    runner.run(mode="benchmark", learning_curve=True, test_share=0.4, epochs=1)
    _flatter(runner.session / "sentiment" / "best.csv")
    read = read_session(runner.session.parent, runner.session.name)
    return replace(read, trainings=tuple(map(_flattered, read.trainings)))


def _flatter(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    table = list(csv.DictReader(lines[COMMENT_LINES:]))
    for row in table:
        if row["model_identifier"].endswith("%"):
            row["f1_macro"] = "0.999"
    out = StringIO()
    writer = csv.DictWriter(out, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    path.write_text("".join(lines[:COMMENT_LINES]) + out.getvalue(), "utf-8")


def _flattered(training: Training) -> Training:
    ended = training.ended
    if ended is None or not training.job.is_partial:
        return training
    scores = replace(ended.best.scores, f1_macro=0.999)
    return replace(training, ended=replace(ended, best=replace(ended.best, scores=scores)))


def console() -> tuple[Console, StringIO]:
    sink = StringIO()
    return Console(file=sink, width=80, markup=False, highlight=False, emoji=False), sink


def test_the_best_of_a_category_learned_from_all_rows(archive: Archive) -> None:
    best = best_of(archive.trainings)
    assert best is not None
    assert best.job.share == 1
    (session,) = list_sessions(archive.folder.parent)
    (category,) = session.categories
    assert category.best is not None
    assert category.best.job == best.job.name
    assert category.best.f1_macro < 0.999


def test_an_opened_session_names_the_shares_and_shows_the_curves(archive: Archive) -> None:
    out, sink = console()
    show_session(out, archive)
    lines = sink.getvalue().splitlines()
    assert max(map(len, (line for line in lines if "sha256" not in line))) <= 80
    begin = next(i for i, line in enumerate(lines) if line.startswith("job "))
    rows = [" ".join(line.split()) for line in lines[begin + 1 : begin + 9]]
    assert [next(share for share in SHARES if f" {share} " in row) for row in rows] == SHARES * 2
    assert [row for row in rows if "★" in row] == [
        row for row in rows if "★" in row and "100" in row
    ]
    for name in ("tiny-bert", "other-bert"):
        assert any(
            line.strip("─ ").startswith(f"Learning curve · sentiment · {name}") for line in lines
        )
    whole = next(one.started for one in archive.trainings if one.job.share == 1)
    assert whole is not None
    assert f"{whole.train_rows} train, " in sink.getvalue()
    categories = json.loads(session_line(archive, (), archive.by_category()))["categories"]
    assert [one["share"] for one in categories[0]["trainings"]] == [0.25, 0.5, 0.75, 1.0] * 2


def test_a_comparison_has_only_models_of_all_rows_and_says_so(archive: Archive) -> None:
    out, sink = console()
    found = compare_sessions(out, archive.folder.parent, [archive.id])
    (contest,) = found.contests
    assert sorted(entry.name for entry in contest.entries) == ["other-bert", "tiny-bert"]
    assert len(contest.pairs) == 1
    assert {job for entry in contest.entries for job in entry.jobs} == {
        f"{archive.id}/{one.job.id}" for one in archive.trainings if one.job.share == 1
    }
    show_comparison(out, found)
    assert "that learned from a part of the rows are left out." in " ".join(sink.getvalue().split())


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_ranks_models_of_all_rows_and_has_the_curves(archive: Archive, kind: Kind) -> None:
    text = render(archive, kind)
    before, _, _ = text.partition('<section id="trainings">')  # the table of every training
    assert not [line for line in before.splitlines() if "bert" in line and "0.999" in line]
    for curve in learning_curves(archive.trainings):
        assert f"{curve.points[1].score:.3f}" in text
        assert describe(curve).split(":")[0] in text
    assert "For a learning curve, models were also trained on 25, 50 and 75" in text
    assert "Pour une courbe d’apprentissage" in text.replace(r"\textquoteright{}", "’")


def test_label_errors_are_judged_by_models_of_all_rows(archive: Archive) -> None:
    pytest.importorskip("cleanlab")
    (found,) = label_errors(archive)
    assert found.trainings == 2
    assert set(found.models) == {"other-bert", "tiny-bert"}
