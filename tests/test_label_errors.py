"""Label errors: flipped labels are found, and what is written can be coded anew."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from llm_tool.analysis.label_errors import (
    COLUMNS,
    LabelErrors,
    Suspect,
    label_errors,
    write_for_recoding,
)
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError
from llm_tool.events import RunEnded, RunStarted
from llm_tool.logs.archive import Archive, read_session
from llm_tool.studio.label_errors import search, show_label_errors, summary
from llm_tool.studio.results import show_result
from tests.conftest import FINISHED, WORDS, runner
from tests.terminal import Terminal
from tests.test_folds import fold_results
from tests.test_local_run import Runner

SESSION = "20260102_030406"
GOOD, BAD = "=good", "[b]bad"  # a formula, and what rich takes for markup


@dataclass
class Flipped:
    """A folder with a session of three folds, and the rows whose labels were flipped before."""

    folder: Path
    table: pd.DataFrame

    @property
    def ids(self) -> set[str]:
        return set(self.table.loc[self.table["flipped"], "id"])

    @property
    def archive(self) -> Archive:
        return read_session(self.folder / "logs", SESSION)


def flipped_table() -> pd.DataFrame:
    """Return 200 texts that say their label, of which 20 were given the other one."""
    rng = np.random.default_rng(3)
    plain = sorted(set(WORDS) - {"good", "bad", "fine", "awful", "bon", "mauvais"})
    rows = []
    for i in range(200):
        is_good, flipped = i % 2 == 0, i % 20 in (4, 7)
        before = ('=2+3, "', "-\x1b[31m\n", "")[i % 3]
        word = "good" if is_good else "bad"
        text = f"{before}{' '.join(rng.choice(plain, 3))} {word} very {word}"
        rows.append((f"r{i}", text, GOOD if is_good != flipped else BAD, flipped))
    return pd.DataFrame(rows, columns=["id", "text", "tone", "flipped"])


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Flipped:
    """Return a session, only to be read, of 200 rows in three folds."""
    folder, table = tmp_path_factory.mktemp("flipped"), flipped_table()
    table.drop(columns="flipped").to_csv(folder / "coded.csv", index=False)
    Runner(folder, folder / "coded.csv", (str(tiny_bert),)).run(
        label=("tone",),
        folds=3,
        epochs=8,
        batch_size=8,
        learning_rate=3e-3,
        precision="float32",
        workers=1,
        near_duplicates="ignore",
        session_id=SESSION,
    )
    return Flipped(folder, table)


@pytest.fixture(scope="module")
def found(flipped: Flipped) -> LabelErrors:
    (one,) = label_errors(flipped.archive)
    return one


def finished_archive(finished: Path) -> Archive:
    return read_session(finished / "training_logs", FINISHED)


def shown(found: tuple[LabelErrors, ...], width: int = 80) -> str:
    sink = StringIO()
    console = Console(file=sink, width=width, markup=False, highlight=False, emoji=False)
    show_label_errors(console, found, Path("a.csv"))
    return sink.getvalue()


def test_flipped_labels_are_at_the_top(flipped: Flipped, found: LabelErrors) -> None:
    is_flipped = [suspect.id in flipped.ids for suspect in found.suspects]
    assert len(flipped.ids) == 20  # a tenth of the rows: what chance would find
    assert np.mean(is_flipped[:20]) >= 0.8
    assert found.noise == pytest.approx(0.1, abs=0.05)
    for suspect in found.suspects:
        assert {suspect.given, suspect.suggested} == {GOOD, BAD}
        assert suspect.probability < 0.5
    assert [s.quality for s in found.suspects] == sorted(s.quality for s in found.suspects)


def test_with_folds_every_row_is_looked_at_once_in_its_test_part(found: LabelErrors) -> None:
    assert (found.rows, found.looked_at, found.validation) == (200, 200, 0)
    assert (found.trainings, found.folds, found.models) == (3, 3, ("tiny-bert",))
    assert {suspect.part for suspect in found.suspects} == {"test"}
    assert len({suspect.row for suspect in found.suspects}) == len(found.suspects)


def test_the_same_session_gives_the_same_errors_again(flipped: Flipped, found: LabelErrors) -> None:
    assert label_errors(flipped.archive) == (found,)


def test_the_csv_has_what_it_takes_to_code_anew(
    flipped: Flipped, found: LabelErrors, tmp_path: Path
) -> None:
    path = tmp_path / "recode.csv"
    write_for_recoding(path, [found])

    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # what Excel knows UTF-8 by
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    texts = dict(zip(flipped.table["id"], flipped.table["text"], strict=True))
    table = read_table(flipped.folder / "coded.csv")
    number = {row[0]: table.row_name(i) for i, row in enumerate(table.frame.to_numpy().tolist())}
    assert [row["rank"] for row in rows] == [str(n) for n in range(1, len(found.suspects) + 1)]
    for row, suspect in zip(rows, found.suspects, strict=True):
        assert row["id"] == suspect.id
        assert row["row"] == number[suspect.id]
        assert row["text"].removeprefix("'") == texts[suspect.id].strip()
        assert row["given_label"].removeprefix("'") == suspect.given
        assert (row["category"], row["part"], row["new_label"]) == ("tone", "test", "")
        assert float(row["probability_of_given"]) == pytest.approx(suspect.probability, abs=1e-4)
        assert not any(cell.startswith(("=", "-", "+", "@")) for cell in row.values())
    assert {row["suggested_label"] for row in rows} == {f"'{GOOD}", BAD}
    # It is a table that the program itself can read again.
    assert len(read_table(path).frame) == len(rows)


def test_a_file_that_may_have_been_coded_in_is_never_replaced(
    flipped: Flipped, found: LabelErrors, tmp_path: Path
) -> None:
    path = tmp_path / "recode.csv"
    path.write_text("my work", "utf-8")
    console = Console(file=StringIO())
    for write in (
        lambda: write_for_recoding(path, [found]),
        lambda: search(console, flipped.folder / "logs", SESSION, path),
    ):
        with pytest.raises(StudioError, match="There is a file of this name") as caught:
            write()
        assert "--out" in caught.value.remedy
    assert path.read_text("utf-8") == "my work"


def test_a_folder_that_cannot_be_written_is_an_error(found: LabelErrors, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no folder for the file"):
        write_for_recoding(tmp_path / "none" / "recode.csv", [found])


def test_data_that_were_changed_give_no_texts_and_that_is_said(
    flipped: Flipped, found: LabelErrors, tmp_path: Path
) -> None:
    other = tmp_path / "coded.csv"
    shutil.copy(flipped.folder / "coded.csv", other)
    with other.open("a", encoding="utf-8") as file:
        file.write("r200,one more good,=good\n")
    changes = [
        {"config": {**flipped.archive.trainings[0].run["config"], "data": str(other)}},
        {"config": {**flipped.archive.trainings[0].run["config"], "data": "gone.csv"}},
        {"config": {"epochs": 1}},  # a training that was started from Python
    ]
    for change in changes:
        archive = flipped.archive
        trainings = tuple(replace(t, run={**t.run, **change}) for t in archive.trainings)
        (one,) = label_errors(replace(archive, trainings=trainings))
        assert not one.has_texts
        assert {(s.text, s.name) for s in one.suspects} == {("", "")}
        assert [s.id for s in one.suspects] == [s.id for s in found.suspects]
        said = " ".join(shown((one,)).split())
        assert "The data file is not there as it was: the texts could not be added." in said


def test_data_named_from_the_folder_of_the_run_are_found_from_elsewhere(
    flipped: Flipped, found: LabelErrors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = flipped.archive
    config = {**archive.trainings[0].run["config"], "data": "coded.csv"}
    run = {**archive.trainings[0].run, "config": config, "folder": str(flipped.folder)}
    trainings = tuple(replace(training, run=run) for training in archive.trainings)
    assert label_errors(replace(archive, trainings=trainings)) == (found,)


def test_without_folds_test_and_validation_rows_are_judged_by_the_mean_of_all_trainings(
    finished: Path,
) -> None:
    archive = finished_archive(finished)
    every = label_errors(archive)

    assert [one.category for one in every] == ["sentiment", "topic"]
    for one in every:
        own = archive.by_category()[one.category]
        tables = [training.predictions().set_index("row") for training in own]
        assert (one.trainings, one.folds, one.models) == (4, 0, ("tiny-bert", "other-bert"))
        assert (one.rows, one.looked_at) == (60, len(tables[0]))
        assert one.validation == (tables[0]["part"] == "validation").sum() > 0
        for suspect in one.suspects:
            assert suspect.part == tables[0]["part"][suspect.row]
            judged = [table[f"probability_{suspect.given}"][suspect.row] for table in tables]
            assert suspect.probability == pytest.approx(np.mean(judged))
    said = " ".join(shown(every).split())
    assert "the test rows, and the validation rows, which chose the epoch" in said
    assert "--folds 5" in said
    assert "the mean of the trainings" in said


def test_a_category_and_a_model_can_be_chosen_and_others_are_refused_with_the_nearest(
    finished: Path,
) -> None:
    archive = finished_archive(finished)
    (one,) = label_errors(archive, ["topic"], "other-bert")
    assert (one.category, one.models, one.trainings) == ("topic", ("other-bert",), 2)

    for keys, where, remedy in (
        ({"categories": ["topics"]}, "--category", "Did you mean topic?"),
        ({"model": "tiny-birt"}, "--model", "Did you mean tiny-bert"),
    ):
        with pytest.raises(StudioError) as caught:
            label_errors(archive, **keys)
        assert caught.value.where == where
        assert caught.value.remedy.startswith(remedy)


def test_a_session_without_a_result_has_nothing_to_look_at(finished: Path) -> None:
    archive = finished_archive(finished)
    waiting = tuple(replace(training, ended=None) for training in archive.trainings)
    with pytest.raises(StudioError, match=f"No training of session {FINISHED} is done"):
        label_errors(replace(archive, trainings=waiting))


def test_without_cleanlab_the_extra_is_named(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(StudioError) as caught:
        label_errors(finished_archive(finished))
    assert caught.value.remedy == 'Install it: pip install "llm-tool[label-errors]"'


def test_rows_of_one_class_alone_have_no_errors(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "training_logs", tmp_path / "logs")
    archive = read_session(tmp_path / "logs", FINISHED)
    for training in archive.by_category()["topic"]:
        table = training.predictions()
        table["true"] = "law"
        table.to_parquet(training.folder / "predictions.parquet")
    (one,) = label_errors(archive, ["topic"])
    assert (one.suspects, one.noise) == ((), 0.0)
    assert "✓ 0 rows to look at again" in shown((one,))


def test_of_several_runs_the_one_counts_that_lets_most_rows_be_looked_at(
    tmp_path: Path, tweets: Path, tiny_bert: Path
) -> None:
    own = Runner(tmp_path, tweets, (str(tiny_bert),))
    for keys in ({"folds": 2}, {"learning_curve": True}):
        own.run(epochs=1, session_id=SESSION, **keys)
    archive = read_session(tmp_path / "logs", SESSION)
    (one,) = label_errors(archive)
    assert (one.folds, one.trainings, one.looked_at) == (2, 2, 60)
    # The points of a learning curve are no judges.
    curve = tuple(training for training in archive.trainings if not training.job.fold)
    (one,) = label_errors(replace(archive, trainings=curve))
    assert (one.trainings, one.folds) == (1, 0)


def test_what_is_shown_fits_the_terminal_and_texts_are_only_shown(found: LabelErrors) -> None:
    text = shown((found,))
    lines = text.splitlines()
    assert "\x1b" not in text
    assert max(map(len, lines)) <= 80
    assert lines[2].split()[:2] == ["tone", "tiny-bert"]
    first = found.suspects[0]
    said = f"tone, row {first.name}: coded {first.given}, probably {first.suggested}"
    assert f"{said} ({first.probability:.2f})" in lines
    assert sum(line.startswith("tone, row") for line in lines) == 3
    assert lines[-2] == f"✓ {len(found.suspects)} rows to look at again, the worst first: a.csv"


def test_a_row_without_a_number_is_shown_by_its_id(found: LabelErrors) -> None:
    suspect = Suspect(0, "a\x1bb", "test", "EN", "x", "y", 0.1, 0.1)
    assert "tone, a\\x1bb: coded x, probably y (0.10)" in shown(
        (replace(found, suspects=(suspect,)),)
    )


def test_folds_that_are_not_done_are_said(found: LabelErrors) -> None:
    assert "Some folds are not done" in shown((replace(found, looked_at=130),))


def test_the_command_writes_the_file_and_a_summary_in_json(
    flipped: Flipped, found: LabelErrors, tmp_path: Path
) -> None:
    out = tmp_path / "recode.csv"
    arguments = ["label-errors", SESSION, "--logs-dir", "logs", "--out", str(out), "--json"]
    done = runner(flipped.folder)(*arguments)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["session"], facts["out"]) == (SESSION, str(out))
    assert facts["categories"] == json.loads(json.dumps(summary((found,))))
    assert facts["categories"][0]["likely_errors"] == len(found.suspects)
    assert len(read_table(out).frame) == len(found.suspects)


def test_the_command_asks_for_a_file_and_names_a_session_that_is_not_there(tmp_path: Path) -> None:
    run = runner(tmp_path)
    done = run("label-errors", SESSION, "--out", "a.csv")
    assert done.returncode == 2
    assert "There is no such session." in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_folds_ends_with_the_command_that_looks_for_label_errors() -> None:
    done = fold_results("a", [0.5, 0.6])
    jobs = tuple(result.job for result in done)
    for folder, where in (("training_logs", ""), ("my logs", " --logs-dir 'my logs'")):
        sink = StringIO()
        run = RunStarted(SESSION, "quick", f"{folder}/{SESSION}", "models", jobs)
        show_result(Console(file=sink, width=80), run, done, [], RunEnded("s", "done", 2, 2, 0, 1))
        command = f"  recode  llm-tool label-errors {SESSION} --out label-errors.csv{where}"
        assert command in sink.getvalue().splitlines()


@pytest.fixture
def terminal(finished: Path, tmp_path: Path) -> Iterator[Terminal]:
    shutil.copytree(finished / "training_logs", tmp_path / "training_logs")
    command = [sys.executable, "-m", "llm_tool", "studio", "--numbered"]
    opened = Terminal(command, folder=tmp_path)
    yield opened
    opened.close()


def test_the_studio_looks_for_label_errors_of_a_session(terminal: Terminal, tmp_path: Path) -> None:
    seen = terminal.wait_for("What would you like to do?")
    (number,) = (line.split(".")[0] for line in seen.splitlines() if ". Recode " in line)
    terminal.answer("What would you like to do?", "\b", number)
    terminal.answer("Label errors of which session?")
    terminal.answer("Name of the file:")
    terminal.wait_for("to look at again, the worst first")
    assert (tmp_path / f"label-errors_{FINISHED}.csv").exists()
    terminal.wait_for_question("What would you like to do?")
