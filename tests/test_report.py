from __future__ import annotations

import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from llm_tool.analysis.compare import compare
from llm_tool.analysis.compare_text import scope_gap
from llm_tool.analysis.report.charts import draw, nice_ticks
from llm_tool.analysis.report.facts import LARGEST_MATRIX, gather
from llm_tool.analysis.report.render import KINDS, Kind, render
from llm_tool.cli.app import app
from llm_tool.config import RunConfig
from llm_tool.logs import read_metrics
from llm_tool.logs.archive import Archive, read_session
from llm_tool.plan import Task
from tests.conftest import FINISHED, Run, runner
from tests.made_sessions import MADE, made_session
from tests.terminal import DOWN, UP, Terminal
from tests.test_local_run import Runner

MOOD = Task("mood", "", ("bad", "good"), ("EN", "FR"))


@pytest.fixture(scope="module")
def archive(finished: Path) -> Archive:
    return read_session(finished / "training_logs", FINISHED)


@pytest.fixture(scope="module")
def page(archive: Archive) -> str:
    return render(archive, "html")


def cells(page: str) -> list[str]:
    """Return the texts of a page's cells."""
    found = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page, re.S)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in found]


def test_the_numbers_of_a_page_are_those_of_best_csv(archive: Archive, page: str) -> None:
    shown = cells(page)
    for category in archive.by_category():
        best = read_metrics(archive.folder / category / "best.csv")
        for row in best.itertuples():
            at = shown.index(row.model_identifier)
            assert shown[at + 1 : at + 3] == [category, row.model_name]
            interval = f"{row.f1_macro_low:.3f}–{row.f1_macro_high:.3f}"
            assert shown[at + 10 : at + 13] == [
                f"{row.f1_macro:.3f}", f"{row.test_f1_macro:.3f}", interval,
            ]  # fmt: skip


def test_the_data_summary_counts_every_row_of_the_file(
    archive: Archive, finished: Path, page: str
) -> None:
    rows = pd.read_csv(finished / "tweets.csv")
    for category in gather(archive).categories:
        (scope,) = category.scopes
        counts = {row.name: row.total for row in scope.counts.classes}
        assert counts == rows[category.name].value_counts().to_dict()
        languages = {row.name: row.total for row in scope.counts.languages}
        assert languages == {"EN": 30, "FR": 30}
        assert scope.counts.whole.total == len(rows)
        for i, whole in enumerate(scope.counts.whole.parts):
            assert sum(row.parts[i] or 0 for row in scope.counts.classes) == whole
    (run,) = gather(archive).runs
    assert [(a.tasks, a.rows, sum(a.parts.values())) for a in run.accounts] == [
        (("sentiment",), 60, 60),
        (("topic",), 60, 60),
    ]
    assert "Where the rows of the file went" in page


def test_without_the_split_file_the_training_rows_of_a_class_are_not_guessed(
    tmp_path: Path,
) -> None:
    archive = made_session(tmp_path, [MOOD])
    (archive.trainings[0].folder / "split.parquet").unlink()

    (scope,) = gather(archive).categories[0].scopes

    assert [row.parts for row in scope.counts.classes] == [(None, 5, 12), (None, 5, 12)]
    assert scope.counts.whole.parts == (40, 10, 24)


def test_the_best_training_is_chosen_by_validation_and_never_by_the_test(tmp_path: Path) -> None:
    archive = made_session(tmp_path, [MOOD], models=("a", "b"), seeds=(1, 2, 3))

    (scope,) = gather(archive).categories[0].scopes

    val = {t.job.id: t.ended.best.scores.f1_macro for t in archive.done if t.ended}
    test = {t.job.id: t.ended.test.f1_macro for t in archive.done if t.ended and t.ended.test}
    winner = scope.standings[0].model
    of_winner = {t.job.id: val[t.job.id] for t in archive.done if t.job.model == winner}
    assert scope.best.job.id == max(of_winner, key=of_winner.__getitem__)
    assert scope.best.job.id != max(test, key=test.__getitem__)  # or this would show nothing


def test_the_command_of_a_report_makes_the_same_run_again(archive: Archive) -> None:
    (run,) = gather(archive).runs

    config = RunConfig(**archive.facts["runs"][0]["config"])
    again = config.model_copy(update={"session_id": None, "workers": None})
    assert run.command.split() == again.command()
    assert FINISHED not in run.command.split()


def test_a_report_of_the_same_session_is_the_same(archive: Archive, page: str) -> None:
    again = read_session(archive.folder.parent, FINISHED)
    assert render(again, "html") == page


def test_the_name_of_the_computer_is_left_out(tmp_path: Path) -> None:
    archive = made_session(tmp_path, [MOOD])
    facts = {**archive.facts, "host": "janes-laptop"}
    for kind in KINDS:
        text = render(Archive(archive.id, archive.folder, "done", facts, archive.trainings), kind)
        assert "janes-laptop" not in text


def test_what_failed_and_what_is_not_done_is_listed_with_the_reason(tmp_path: Path) -> None:
    archive = made_session(
        tmp_path, [MOOD], models=("a", "b", "c", "d"), failed=["j0002"], begun=["j0003"],
        waiting=["j0004"],
    )  # fmt: skip

    for kind in ("html", "markdown"):
        text = render(archive, kind)
        assert "The disk burnt. rack 3 Cool it." in text
        assert "It has not come to its end." in text
        assert "It has not begun." in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_in_which_nothing_is_done_has_a_report_all_the_same(
    tmp_path: Path, kind: Kind
) -> None:
    archive = made_session(tmp_path, [MOOD], models=("a", "b"), begun=["j0001"], waiting=["j0002"])

    text = render(archive, kind)

    assert MADE in text.replace("\\_", "_")
    assert "We fine-tuned" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_without_test_rows_the_tables_are_of_validation_and_say_so(
    tmp_path: Path, kind: Kind
) -> None:
    text = render(made_session(tmp_path, [MOOD], test_rows=0, epochs=1), kind)

    assert "on the validation rows" in text
    assert "on the test rows" not in text
    assert "bootstrap" not in text


def test_of_many_classes_the_most_frequent_confusions_stand_for_the_matrix(tmp_path: Path) -> None:
    classes = tuple(f"class {i:02d}" for i in range(LARGEST_MATRIX + 1))
    archive = made_session(tmp_path, [Task("theme", "", classes)], test_rows=300)

    text = render(archive, "html")

    assert "The most frequent confusions of bert" in text
    assert 'class="matrix' not in text
    (scope,) = gather(archive).categories[0].scopes
    rows = scope.best.predictions()
    wrong = rows[(rows["part"] == "test") & (rows["true"] != rows["predicted"])]
    counts = wrong.groupby(["true", "predicted"]).size()
    assert [one.rows for one in scope.matrix.mix_ups] == sorted(counts, reverse=True)[:15]


def test_predictions_that_are_gone_cost_only_the_matrix(tmp_path: Path) -> None:
    archive = made_session(tmp_path, [MOOD])
    (archive.trainings[0].folder / "predictions.parquet").unlink()

    assert "No confusion matrix: predictions.parquet of j0001" in render(archive, "html")


def test_a_loss_that_is_not_a_number_has_no_point_in_its_curve(tmp_path: Path) -> None:
    archive = made_session(tmp_path, [MOOD], train_loss=float("nan"))

    figure = draw(archive.trainings)

    assert figure
    assert [len(chart.curves[0].points) for chart in figure.charts] == [0, 3, 3]
    assert render(archive, "html").count("<svg") == 4  # three pictures, one in the legend


def test_the_names_beside_curves_do_not_overlap_and_stay_in_the_picture(tmp_path: Path) -> None:
    archive = made_session(tmp_path, [MOOD], models=[f"model {i}" for i in range(15)], epochs=1)

    figure = draw(archive.trainings)

    assert figure
    for chart in figure.charts:
        places = [label.y for label in chart.labels]
        assert len(places) == 15
        assert all(b - a >= 12.9 for a, b in pairwise(places))
        assert min(places) > 0
        assert max(places) < chart.height


def test_axes_have_round_numbers_that_enclose_the_curves() -> None:
    assert nice_ticks([0.12, 1.07]) == pytest.approx([0, 0.5, 1, 1.5])
    assert nice_ticks([0.61, 0.66]) == pytest.approx([0.6, 0.62, 0.64, 0.66])
    assert len(nice_ticks([0.5])) > 1
    assert nice_ticks([]) == []


def test_the_command_writes_the_page_beside_the_logs_and_tables_to_standard_output(
    finished: Path, tmp_path: Path, page: str
) -> None:
    shutil.copytree(finished / "training_logs", tmp_path / "training_logs")
    run: Run = runner(tmp_path)

    done = run("report", FINISHED)

    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / "training_logs" / FINISHED / "report.html"
    assert tmp_path / done.stdout.strip() == path
    assert path.read_text("utf-8").replace(str(tmp_path), "") == page
    tables = tmp_path / "tables.tex"
    logs = ["--logs-dir", str(tmp_path / "training_logs")]
    written = CliRunner().invoke(app, ["report", FINISHED, "--latex", "--out", str(tables), *logs])
    assert written.output == f"{tables}\n"
    shown = CliRunner().invoke(app, ["report", FINISHED, "--latex", *logs])
    assert shown.output == tables.read_text("utf-8")


def test_what_cannot_be_reported_is_an_error_that_says_what_to_do(
    tmp_path: Path, archive: Archive
) -> None:
    logs = str(archive.folder.parent)
    calls = {
        ("report", FINISHED, "--html", "--latex", "--logs-dir", logs): "once for each",
        ("report", "20200101_000000", "--logs-dir", logs): "no such session",
        ("report", FINISHED, "--out", str(tmp_path), "--logs-dir", logs): "This is a folder",
        ("report", FINISHED, "--out", "no/such/x", "--logs-dir", logs): "no folder for the file",
    }
    for words, message in calls.items():
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2, words
        assert message in done.output


def test_the_studio_asks_for_session_and_kind_and_says_where_the_report_is(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "training_logs", tmp_path / "training_logs")
    terminal = Terminal([sys.executable, "-m", "llm_tool", "studio"], folder=tmp_path)
    try:
        terminal.answer("What would you like to do?", UP, UP, UP)  # past Quit and Recode
        terminal.answer("Report which session?")
        terminal.answer("As what?", DOWN)
        path = f"training_logs/{FINISHED}/report.tex"
        seen = terminal.wait_for(f"✓ {path}", 60)
        terminal.wait_for_question("What would you like to do?")
    finally:
        terminal.close()
    assert "Error" not in seen
    assert f"llm-tool report {FINISHED} --latex --out {path}" in terminal.text().replace("\n", "")
    assert (tmp_path / path).read_text("utf-8").count(r"\begin{table}") == 6


def test_languages_with_models_of_their_own_are_compared_in_the_report(
    tmp_path: Path, tweets: Path, tiny_bert: Path
) -> None:
    run = Runner(tmp_path, tweets, (f"EN={tiny_bert}", f"FR={tiny_bert}"))
    run.run(language_column="lang", test_share=0.4, epochs=1)
    archive = read_session(run.session.parent, run.session.name)
    (own,) = compare([archive]).gaps
    assert [one.language for one in own.models] == ["EN", "FR"]
    for kind in ("html", "markdown"):
        text = re.sub(r"\\(?=\W)", "", render(archive, kind))
        assert scope_gap(own).split("[")[0] in text
        assert "not of languages alone." in text
        for one in own.models:
            assert f"{one.language}: tiny-bert, {one.f1_macro.value:.3f}" in text
