"""training.csv and best.csv, whole: from hand-made events, through journals, back into tables."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llm_tool.events import EpochEnded, Event, JobEnded, JobFailed, JobStarted
from llm_tool.logs import category_rows, journal, read_metrics
from llm_tool.logs.category_rows import CategoryRows, training_columns
from llm_tool.logs.metrics_csv import CategoryCsv
from llm_tool.plan import Job, Task
from tests.test_events import SENTIMENT, made_end, made_epoch, made_job

JOB = made_job()
OTHER = made_job(2, task=replace(SENTIMENT, classes=("bad", "none"), languages=("DE", "FR")))
THIRD = made_job(3)

HEADER = """\
# TRAINING METRICS
# category: sentiment
# classes: good | bad
# languages: EN | FR
model_identifier,model_name,label_key,label_value,language,timestamp,epoch,train_loss,val_loss,\
accuracy,precision_macro,recall_macro,f1_macro,f1_weighted,precision_good,recall_good,f1_good,\
support_good,precision_bad,recall_bad,f1_bad,support_bad,EN_accuracy,EN_f1_macro,EN_support,\
FR_accuracy,FR_f1_macro,FR_support,learning_rate,seconds,tokens_per_second,training_phase,seed"""
FIRST_ROW = """\
j0001,org/bert,sentiment,,MULTI,20260102_030401,1,0.333333,0.5,0.61,0.62,0.63,0.5,0.65,\
0.01,0.02,0.5,10,0.11,0.12,0.5,11,0.03,0.5,20,0.23,0.5,21,3e-05,1.5,1.23457e+06,normal,1"""
TRAINING = f"""\
{HEADER}
{FIRST_ROW}
j0001,org/bert,sentiment,,MULTI,20260102_030402,2,0.25,0.333333,0.61,0.62,0.63,0.64,0.65,\
0.01,0.02,,10,0.11,0.12,,11,0.03,,20,0.23,,21,1.5e-05,1.5,1.23457e+06,reinforced,1
"""
BEST = f"""\
{HEADER},selection_metric,selection_value,f1_macro_low,f1_macro_high,test_f1_macro,test_accuracy,\
saved_model_path
{FIRST_ROW},f1_macro,0.5,0.25,0.75,0.5,0.61,models/X/j0001
"""


def record(csv: CategoryCsv, *events: Event) -> None:
    """Do as a session does: the journal first, then the files that follow from it."""
    for event in events:
        assert isinstance(event, JobStarted | EpochEnded | JobEnded | JobFailed)
        journal.append(csv.folder / "runs" / event.job.id, event)
        if isinstance(event, EpochEnded | JobEnded):
            csv.update(event)


def files(folder: Path) -> tuple[str, str]:
    """Return both files as they are on disk."""
    names = ("training.csv", "best.csv")
    return tuple((folder / n).read_bytes().decode() for n in names)  # type: ignore[return-value]


def from_journals(folder: Path) -> tuple[str, str]:
    """Return both files as the journals have them."""
    paths = sorted(folder.glob("runs/*/journal.jsonl"), key=lambda path: int(path.parent.name[1:]))
    rows = CategoryRows(event for path in paths for event in journal.read_events(path))
    return "".join(rows.training()), "".join(rows.best())


def epochs_of(folder: Path, job_id: str) -> list[EpochEnded]:
    """Return the epochs that a journal of a category has."""
    record = journal.read_record(folder / "runs" / job_id / "journal.jsonl")
    return record.epochs if record else []


def started(job: Job) -> JobStarted:
    return JobStarted(job, "t", 9, 3, 0, 2, 16, 5e-5, 64, 0, "f1_macro", "cpu", "float32", 99)


def test_two_epochs_and_an_end_make_these_two_files(tmp_path: Path) -> None:
    best = made_epoch(JOB)
    second = made_epoch(JOB, 2, f1=None, training_phase="reinforced")

    record(CategoryCsv(tmp_path), started(JOB), best, second, made_end(best))

    assert files(tmp_path) == (TRAINING, BEST)
    assert from_journals(tmp_path) == (TRAINING, BEST)


def test_a_job_that_is_not_done_has_its_best_epoch_so_far_and_empty_cells(tmp_path: Path) -> None:
    record(CategoryCsv(tmp_path), made_epoch(JOB), made_epoch(JOB, 2, f1=0.75, is_best=True))

    (line,) = files(tmp_path)[1].splitlines()[5:]
    assert line.startswith("j0001,org/bert,sentiment,,MULTI,20260102_030402,2,")
    assert line.endswith(",f1_macro,0.75,,,,,")


def test_a_job_has_one_row_in_best_csv_whatever_happened(tmp_path: Path) -> None:
    for _ in range(3):  # three processes, one after the other
        best = made_epoch(JOB, 2, f1=0.75, is_best=True)
        record(CategoryCsv(tmp_path), made_epoch(JOB), best, made_end(best), made_end(best))

    assert read_metrics(tmp_path / "best.csv")["epoch"].tolist() == [2]


def test_a_later_job_with_new_classes_and_languages_widens_the_files(tmp_path: Path) -> None:
    csv = CategoryCsv(tmp_path)
    first, second = made_epoch(JOB), made_epoch(OTHER, f1=0.75)
    record(csv, first, made_end(first), second, made_end(second), made_epoch(OTHER, 2))

    assert files(tmp_path) == from_journals(tmp_path)
    assert files(tmp_path)[0].splitlines()[2:4] == [
        "# classes: good | bad | none",
        "# languages: EN | FR | DE",
    ]
    for name, rows in (("training.csv", 3), ("best.csv", 2)):
        frame = read_metrics(tmp_path / name)
        assert len(frame) == rows
        assert frame["f1_bad"].tolist()[:2] == [0.5, 0.75]
        assert frame["support_bad"].tolist()[:2] == [11, 10]
        assert frame["f1_good"].isna().tolist()[:2] == [False, True]
        assert frame["f1_none"].isna().tolist()[:2] == [True, False]
        assert frame["FR_support"].tolist()[:2] == [21, 21]
        assert frame["EN_support"].isna().tolist()[:2] == [False, True]
        assert frame["DE_support"].isna().tolist()[:2] == [True, False]
        assert frame["seed"].tolist()[:2] == [1, 1]


def test_a_new_class_widens_best_csv_too_before_its_job_has_a_best_epoch(tmp_path: Path) -> None:
    csv = CategoryCsv(tmp_path)
    record(csv, made_epoch(JOB), made_epoch(OTHER, is_best=False))

    assert files(tmp_path) == from_journals(tmp_path)
    assert "f1_none" in read_metrics(tmp_path / "best.csv").columns


HISTORY: list[Event] = [
    started(JOB),
    made_epoch(JOB),
    started(OTHER),
    JobFailed(OTHER, "No."),  # its classes and languages have no row
    made_epoch(THIRD),
    made_epoch(JOB, 2, f1=0.75, is_best=True),
    made_epoch(THIRD, 2),
    made_end(made_epoch(JOB, 2, f1=0.75, is_best=True)),
    made_epoch(THIRD, 3, val_loss=float("nan"), train_loss=float("inf")),
    made_end(made_epoch(THIRD), test=None, f1_macro_low=None, f1_macro_high=None),
]


def delete(csv: CategoryCsv) -> CategoryCsv:
    (csv.folder / "training.csv").unlink(missing_ok=True)
    (csv.folder / "best.csv").unlink(missing_ok=True)
    return csv


def spoil(csv: CategoryCsv) -> CategoryCsv:
    csv.folder.mkdir(parents=True, exist_ok=True)
    (csv.folder / "training.csv").write_text("half a fi")
    return csv


@pytest.mark.parametrize("disturb", [lambda csv: CategoryCsv(csv.folder), delete, spoil])
def test_appending_and_rebuilding_give_the_same_bytes_after_every_event(
    tmp_path: Path, disturb: Callable[[CategoryCsv], CategoryCsv]
) -> None:
    kept, disturbed = CategoryCsv(tmp_path / "kept"), CategoryCsv(tmp_path / "disturbed")
    for event in HISTORY:
        record(kept, event)
        disturbed = disturb(disturbed)
        record(disturbed, event)
        if not isinstance(event, JobStarted | JobFailed):
            assert files(tmp_path / "kept") == from_journals(tmp_path / "kept")
            assert files(tmp_path / "disturbed") == files(tmp_path / "kept")


def read_all(folder: Path) -> dict[str, journal.News]:
    """Return what the journals of a category have, as a collector reads them."""
    paths = folder.glob("runs/*/journal.jsonl")
    return {path.parent.name: journal.read_on(path) for path in paths}


@pytest.mark.parametrize("step", [1, 3, len(HISTORY)])
def test_taking_in_what_others_wrote_ends_with_the_same_bytes(tmp_path: Path, step: int) -> None:
    csv = CategoryCsv(tmp_path)
    for number, event in enumerate(HISTORY, 1):
        assert isinstance(event, JobStarted | EpochEnded | JobEnded | JobFailed)
        journal.append(tmp_path / "runs" / event.job.id, event)
        if number % step == 0:
            csv.take(read_all(tmp_path))  # whole each time: what was taken in before is known
            csv.append()
            csv.catch_up()
    csv.take(read_all(tmp_path))
    csv.finish()

    assert files(tmp_path) == from_journals(tmp_path)
    assert not csv.is_behind
    assert not CategoryCsv(tmp_path).rebuild()


def test_a_new_row_is_added_at_the_end_and_no_row_is_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[EpochEnded] = []
    row = category_rows._epoch_row
    monkeypatch.setattr(category_rows, "_epoch_row", lambda e: (made.append(e), row(e))[1])
    csv = CategoryCsv(tmp_path)
    events = [made_epoch(made_job(n), e) for n, e in ((2, 1), (1, 1), (1, 2), (2, 2))]
    before = b""
    for number, event in enumerate(events):
        journal.append(tmp_path / "runs" / event.job.id, event)
        csv.take(read_all(tmp_path))
        csv.append()
        if number < 2:  # the first makes the file
            csv.catch_up()
        now = (tmp_path / "training.csv").read_bytes()
        assert now.startswith(before)
        assert now.count(b"\n") == number + 6
        before = now

    assert made == events
    csv.finish()
    assert made == events
    assert files(tmp_path) == from_journals(tmp_path)


def test_rows_of_a_class_that_comes_later_but_is_planned_before_have_its_columns_first(
    tmp_path: Path,
) -> None:
    first, later = replace(OTHER, id="j0001"), made_job(2)
    csv = CategoryCsv(tmp_path)
    record(csv, made_epoch(later))
    assert files(tmp_path)[0].splitlines()[2] == "# classes: good | bad"
    record(csv, made_epoch(first))
    assert files(tmp_path)[0].splitlines()[2] == "# classes: bad | none | good"
    assert files(tmp_path) == from_journals(tmp_path)


def test_rows_are_in_the_order_of_the_plan_whoever_ends_first(tmp_path: Path) -> None:
    csv = CategoryCsv(tmp_path)
    jobs = [made_job(n) for n in (10, 2, 9, 10000)]
    record(csv, *(made_epoch(job) for job in jobs), *(made_epoch(job, 2) for job in jobs))

    table = read_metrics(tmp_path / "training.csv")
    names = ["j0002", "j0009", "j0010", "j10000"]
    assert table["model_identifier"].tolist() == [name for name in names for _ in range(2)]
    assert table["epoch"].tolist() == [1, 2] * 4
    assert read_metrics(tmp_path / "best.csv")["model_identifier"].tolist() == names
    assert files(tmp_path) == from_journals(tmp_path)


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    record(CategoryCsv(tmp_path), made_epoch(JOB))
    with (tmp_path / "runs" / "j0001" / "journal.jsonl").open("ab") as file:
        file.write('{"event":"epoch_ended","job":{"model":"é'.encode()[:-1])

    assert len(epochs_of(tmp_path, "j0001")) == 1
    record(CategoryCsv(tmp_path), made_epoch(JOB, 2))

    assert read_metrics(tmp_path / "training.csv")["epoch"].tolist() == [1, 2]
    assert files(tmp_path) == from_journals(tmp_path)


def test_a_row_that_a_full_disk_refused_is_back_with_the_next_one(tmp_path: Path) -> None:
    csv = CategoryCsv(tmp_path)
    record(csv, *(made_epoch(made_job(n), e) for n in range(1, 9) for e in (1, 2)))
    size = (tmp_path / "training.csv").stat().st_size
    job = made_job(9)

    # The journal of a new job is short, so that only training.csv is over the limit.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            record(csv, made_epoch(job))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    record(csv, made_epoch(job, 2))

    assert read_metrics(tmp_path / "training.csv")["epoch"].tolist() == [1, 2] * 9
    assert files(tmp_path) == from_journals(tmp_path)


ODD_NAMES = [
    *("=1+1", "+x", "-x", "@x", "'x", "'=x", "''", "\tx", "=cmd|' /C calc'!A0", "＝x"),
    *('a,"b"', "a;b", "a\nb", "a\r\nb", "a\rb", "# x", "#", "NA", "nan", "1", "001", "1e5", "True"),
    *(
        "macro",
        "weighted",
        "class_macro",
        "macro_low",
        "é",
        "e\u0301",
        "\u202e",
        "日本",
        "a b",
        "|",
    ),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_name_is_read_back_as_the_user_wrote_it(tmp_path: Path, name: str) -> None:
    task = Task(name, name, (name, "plain"), (name.upper(), "FR"))
    job = made_job(1, task=task, model_name=name, identifier=name, language=name.upper())
    best = made_epoch(job, f1=0.75)
    record(CategoryCsv(tmp_path), best, made_end(best, saved_model_path=name))

    for file in ("training.csv", "best.csv"):
        frame = read_metrics(tmp_path / file)
        assert len(frame) == 1
        row = frame.iloc[0]
        assert row[["model_identifier", "model_name", "label_key", "label_value"]].eq(name).all()
        assert row["language"] == name.upper()
        assert row["f1_macro"] == 0.75
        assert row[f"{name.upper()}_f1_macro"] == 0.75
        assert frame.columns.is_unique
        assert list(frame.columns)[: len(training_columns([task]))] == training_columns([task])
    assert row["saved_model_path"] == name
    assert row["f1_macro_low"] == 0.25


WRITABLE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(WRITABLE | st.sampled_from(ODD_NAMES), min_size=1, max_size=4, unique=True))
@example(names=["macro", "class_macro", "class_class_macro", "weighted"])
def test_any_set_of_classes_gives_unique_columns_with_the_right_numbers(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    job = made_job(1, task=Task("key", "", tuple(names)))
    record(CategoryCsv(folder), made_epoch(job, f1=0.75))

    frame = read_metrics(folder / "training.csv")
    columns = training_columns([job.task])
    assert len(set(columns)) == len(columns)
    assert list(frame.columns) == columns
    for i, name in enumerate(names):
        recalls = [c for c in columns if c in {f"recall_{name}", f"recall_class_{name}"}]
        assert pytest.approx(0.1 * i + 0.02) in frame[recalls].iloc[0].tolist()
    assert frame.iloc[0, 17:-5:4].tolist() == [10 + i for i in range(len(names))]
    assert frame["f1_macro"].tolist() == [0.75]


def test_no_cell_starts_as_a_formula_and_comments_stay_in_one_cell(tmp_path: Path) -> None:
    name = '=a,b;c\t"d"\n+e'
    job = made_job(1, task=Task(name, name, (name,), (name,)), model_name=name, language=name)
    record(CategoryCsv(tmp_path), made_epoch(job))

    text = files(tmp_path)[0]
    assert text.splitlines()[1] == "# category: =a\\x2cb\\x3bc\\t\\x22d\\x22\\n+e"
    cells = pd.read_csv(tmp_path / "training.csv", skiprows=4, header=None, dtype=str)
    assert not [c for c in cells.to_numpy().ravel() if str(c).startswith(tuple("=+-@\t\r"))]


def test_plain_pandas_reads_the_same_numbers(tmp_path: Path) -> None:
    csv = CategoryCsv(tmp_path)
    for job in (JOB, made_job(2, task=replace(SENTIMENT, classes=("=x", 'a,"\nb', "macro")))):
        record(csv, made_epoch(job), made_epoch(job, 2, f1=None), made_end(made_epoch(job)))

    for file in ("training.csv", "best.csv"):
        ours = read_metrics(tmp_path / file)
        plain = pd.read_csv(tmp_path / file, skiprows=4)
        assert plain.shape == ours.shape
        numbers = plain.select_dtypes("number").columns
        assert len(numbers) > 30
        for position, name in enumerate(plain.columns):
            if name in numbers and name != "label_value":
                pd.testing.assert_series_equal(
                    ours.iloc[:, position], plain[name], check_names=False, check_dtype=False
                )
