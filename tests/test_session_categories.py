"""The categories of a session: their folders, a shared encoder's labels, and files that widen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from llm_tool.events import JobFailed, JobStarted
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.journal import read_events
from llm_tool.logs.labels import per_category
from llm_tool.plan import Job, Task
from tests.test_events import made_end, made_epoch, made_job, made_scores
from tests.test_metrics_csv import files, from_journals
from tests.test_session import facts_of, new_job, run


def folders_of(session: Session) -> dict[tuple[str, str], str]:
    known = facts_of(session)["categories"]
    return {(c["label_key"], c["label_value"]): c["folder"] for c in known}


def test_a_category_is_named_by_its_value_or_key_and_if_ambiguous_by_both(tmp_path: Path) -> None:
    folders = {
        ("", ""): "default",
        ("topic", ""): "topic",
        ("topic", "law & order/UK"): "law_&_order_UK",
        ("sentiment", "positive"): "sentiment_positive",
        ("irony", "positive"): "irony_positive",
        ("irony", "no"): "no",
        ("positive", ""): "positive",
    }
    session = Session(tmp_path)
    run(session, *(new_job(*pair) for pair in folders), new_job("irony", "no"))

    assert folders_of(session) == folders
    assert session.category_name(Task("irony", "positive")) == "irony_positive"


def test_a_folder_once_given_stays_and_no_two_categories_share_one(tmp_path: Path) -> None:
    session = Session(tmp_path)
    run(session, new_job("sentiment", "Positive"))
    later = Session(tmp_path, session.id)
    run(later, new_job("irony", "Positive"), new_job("sentiment", "Positive"))
    run(later, new_job("x", "positive"), new_job("Positive"), new_job("x", "POSITIVE "))

    folders = folders_of(session)
    assert folders["sentiment", "Positive"] == "Positive"
    assert len(folders) == 5
    assert len({folder.casefold() for folder in folders.values()}) == 5
    table = read_metrics(session.folder / "Positive" / "training.csv")
    assert table["model_identifier"].tolist() == ["j0001", "j0003"]


def test_a_later_run_with_the_value_of_another_key_gets_both_names_and_takes_no_folder(
    tmp_path: Path,
) -> None:
    session = Session(tmp_path)
    run(session, new_job("sentiment", "yes"))
    run(Session(tmp_path, session.id), new_job("irony", "yes"), new_job("irony", "no"))
    run(session, new_job("sentiment", "yes"), new_job("irony", "yes"), new_job("humour", "no"))

    assert folders_of(session) == {
        ("sentiment", "yes"): "yes",
        ("irony", "yes"): "irony_yes",
        ("irony", "no"): "no",
        ("humour", "no"): "humour_no",
    }
    for pair, folder in folders_of(session).items():
        table = read_metrics(session.folder / folder / "training.csv")
        assert set(table[["label_key", "label_value"]].itertuples(index=False, name=None)) == {pair}
    table = read_metrics(session.folder / "yes" / "training.csv")
    assert table["model_identifier"].tolist() == ["j0001", "j0004"]


def shared_job(*pairs: tuple[str, str]) -> Job:
    labels = tuple(Task(key, value, ("no", "yes"), ("EN",)) for key, value in pairs)
    whole = Task("a+b", "", tuple(value for _, value in pairs), ("EN",))
    return made_job(id="", task=whole, labels=labels)


def test_a_shared_encoder_has_a_folder_for_each_label_and_none_for_itself(tmp_path: Path) -> None:
    session = Session(tmp_path)
    job = shared_job(("a", "x"), ("a", "y"), ("b", "x"))
    with session.run([job, new_job("c", "y")], {}, {}) as (named, _):
        assert session.run_folder(named) == session.folder / "a_x" / "runs" / "j0001"

    assert folders_of(session) == {
        ("a", "x"): "a_x",
        ("a", "y"): "a_y",
        ("b", "x"): "b_x",
        ("c", "y"): "c_y",
    }
    (line, _) = (session.folder / "jobs.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["task"]["label_key"] == "a+b"
    assert [task["label_value"] for task in json.loads(line)["labels"]] == ["x", "y", "x"]


def test_what_a_shared_encoder_tells_is_recorded_for_each_of_its_labels(tmp_path: Path) -> None:
    session = Session(tmp_path)
    with session.run([shared_job(("a", "x"), ("b", "y"))], {}, {}) as (job,):
        own = [job.of(task) for task in job.labels]
        plain = JobStarted(job, "t", 9, 3, 0, 2, 16, 5e-5, 64, 0, "f1_macro", "cpu", "float32", 9)
        scores = zip(own, (0.25, 0.75), strict=True)
        labels = tuple(made_epoch(label, f1=f1) for label, f1 in scores)
        epoch = replace(made_epoch(job, f1=0.5), labels=labels)
        ends = tuple(made_end(label, test=None) for label in labels)
        end = replace(made_end(epoch), labels=ends)
        for event in (plain, epoch, end):
            session.record(event)

    assert per_category(epoch) == labels
    assert per_category(plain) == tuple(replace(plain, job=label) for label in own)
    assert per_category(labels[0]) == labels[:1]
    assert sorted(p.name for p in session.folder.iterdir() if p.is_dir()) == ["x", "y"]
    for label, one, ended in zip(own, labels, ends, strict=True):
        folder = session.category_folder(label.task)
        journal_of = folder / "runs" / "j0001" / "journal.jsonl"
        assert list(read_events(journal_of)) == [replace(plain, job=label), one, ended]
        row = read_metrics(folder / "best.csv").iloc[0]
        assert row["label_value"] == label.task.label_value
        assert row["f1_macro"] == one.scores.f1_macro
        assert (row["support_no"], row["support_yes"]) == (10, 11)


def test_a_shared_encoder_that_fails_is_one_failed_job_in_the_journals_of_all_its_labels(
    tmp_path: Path,
) -> None:
    session = Session(tmp_path)
    with session.run([shared_job(("a", "x"), ("b", "y"))], {}, {}) as (job,):
        session.record(JobFailed(job, "It broke."))

    for task in job.labels:
        journal_of = session.category_folder(task) / "runs" / "j0001" / "journal.jsonl"
        assert list(read_events(journal_of)) == [JobFailed(job.of(task), "It broke.")]
    assert facts_of(session)["status"] == "failed"


THREE = Task("sentiment", "", ("bad", "good", "none"), ("EN", "FR"))
NARROW = replace(THREE, classes=("bad", "good"), languages=("FR",))


def test_a_model_that_saw_less_than_its_category_has_empty_cells_in_their_places(
    tmp_path: Path,
) -> None:
    session = Session(tmp_path)
    french, both = made_job(task=THREE, language="FR"), made_job(task=THREE)
    with session.run([french, both], {}, {}) as jobs:
        seen = made_scores(replace(french, task=NARROW))
        best = made_epoch(jobs[0], scores=seen)
        for event in (best, made_end(best, test=seen), made_epoch(jobs[1])):
            session.record(event)

    start = "# TRAINING METRICS\n# category: sentiment\n# classes: bad | good | none\n"
    columns = (
        "model_identifier,model_name,label_key,label_value,language,timestamp,epoch,train_loss,"
        "val_loss,accuracy,precision_macro,recall_macro,f1_macro,f1_weighted,precision_bad,"
        "recall_bad,f1_bad,support_bad,precision_good,recall_good,f1_good,support_good,"
        "precision_none,recall_none,f1_none,support_none,EN_accuracy,EN_f1_macro,EN_support,"
        "FR_accuracy,FR_f1_macro,FR_support,learning_rate,seconds,tokens_per_second,"
        "training_phase,seed"
    )
    common = (
        "20260102_030401,1,0.333333,0.5,0.61,0.62,0.63,0.5,0.65,0.01,0.02,0.5,10,0.11,0.12,0.5,11"
    )
    rate = "3e-05,1.5,1.23457e+06,normal,1"
    first = f"j0001,org/bert,sentiment,,FR,{common},,,,,,,,0.03,0.5,20,{rate}"
    second = (
        f"j0002,org/bert,sentiment,,MULTI,{common},0.21,0.22,0.5,12,0.03,0.5,20,0.23,0.5,21,{rate}"
    )
    assert (session.folder / "sentiment" / "training.csv").read_text("utf-8") == (
        f"{start}# languages: EN | FR\n{columns}\n{first}\n{second}\n"
    )


def test_a_later_run_with_new_classes_and_languages_shifts_no_number(tmp_path: Path) -> None:
    session = Session(tmp_path)
    run(session, made_job(task=NARROW, identifier="narrow"))
    wide = replace(THREE, classes=("awful", *THREE.classes), languages=("DE", "FR"))
    run(Session(tmp_path, session.id), made_job(task=wide, identifier="wide"))
    run(session, made_job(task=NARROW, identifier="again"))

    folder = session.folder / "sentiment"
    lines = (folder / "training.csv").read_text("utf-8").splitlines()
    assert lines[2:4] == ["# classes: bad | good | awful | none", "# languages: FR | DE"]
    header, *rows = ([*line.split(",")] for line in lines[4:])
    cells = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert list(cells) == ["narrow", "wide", "again"]
    narrow, wider = dict(cells["narrow"]), cells["wide"]
    assert {name: narrow[name] for name in header[14:18]} == {
        "precision_bad": "0.01",
        "recall_bad": "0.02",
        "f1_bad": "0.5",
        "support_bad": "10",
    }
    assert [narrow[f"support_{name}"] for name in ("bad", "good", "awful", "none")] == [
        *("10", "11", "", ""),
    ]
    assert [wider[f"support_{name}"] for name in ("bad", "good", "awful", "none")] == [
        *("11", "12", "10", "13"),
    ]
    assert [(row["FR_support"], row["DE_support"]) for row in (narrow, wider)] == [
        ("20", ""),
        ("21", "20"),
    ]
    assert {row["seed"] for row in cells.values()} == {"1"}
    assert cells["again"] == {**narrow, "model_identifier": "again"}
    assert files(folder) == from_journals(folder)
