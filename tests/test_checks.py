"""What ``llm-tool check`` finds in data: each thing found is shown once, and nothing else is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.data.checks import Finding, spread
from llm_tool.errors import StudioError
from llm_tool.modes.checkup import SAMPLE, Report
from llm_tool.studio.check import check

SHARED = Path(__file__).parents[2] / "shared" / "data"
Write = Callable[..., Path]
Row = dict[str, str]
SUBJECTS = ("the harbour", "a tax on sugar", "our schools", "the night train", "wind power")
VERBS = ("divides", "unites", "surprises", "pleases", "worries")
WHO = ("voters", "farmers", "teachers", "the press", "ministers", "nurses", "pupils")


def rows(count: int = 120) -> list[Row]:
    """Return rows of which none is like another, in two classes of the same size."""
    made = []
    for i in range(count):
        words = (
            SUBJECTS[i % 5],
            VERBS[i // 5 % 5],
            WHO[i // 25 % 7],
            f"in the year {1700 + 7 * i}",
        )
        made.append({"text": " ".join(words), "mood": ("glad", "cross")[i % 2]})
    return made


def written(write: Write, table: Iterable[Row]) -> Path:
    every = list(table)
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in every for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(every)
    return write("data.csv", text.getvalue())


@pytest.fixture
def checked(write: Write, tiny_bert: Path) -> Callable[..., Report]:
    """Return a function that writes rows and checks them with a tiny model."""

    def run(table: Iterable[Row], **settings: object) -> Report:
        given = {"data": str(written(write, table)), "mode": "hybrid", "model": str(tiny_bert)}
        return check(make_config({**given, "language_column": "none", **settings}))

    return run


Checked = Callable[..., Report]


def kinds(report: Report) -> list[tuple[str, str]]:
    return [(finding.level, finding.kind) for finding in report.findings]


def only(report: Report, kind: str) -> Finding:
    (found,) = [finding for finding in report.findings if finding.kind == kind]
    return found


def test_data_with_nothing_odd_have_no_findings(checked: Checked) -> None:
    report = checked(rows())
    assert report.findings == ()
    assert not report.refused
    assert (report.rows, report.texts) == (120, 120)
    assert report.columns["labels"] == ("mood",)
    assert report.keys["mood"].values == {"glad": 60, "cross": 60}
    assert report.keys["mood"].without == 0


def test_rows_of_each_value_are_counted_in_all_and_in_each_language(checked: Checked) -> None:
    table = [{**row, "lang": "en" if i < 80 else "fr"} for i, row in enumerate(rows())]
    report = checked(table, language_column="lang")
    assert report.languages == {"EN": 80, "FR": 40}
    assert report.languages_of is None
    assert report.keys["mood"].by_language == {
        "EN": {"glad": 40, "cross": 40},
        "FR": {"glad": 20, "cross": 20},
    }


def test_languages_are_detected_where_no_column_says_them(checked: Checked) -> None:
    report = checked(rows(), language_column=None)
    assert report.languages == {"EN": 120}
    assert report.languages_of == 120


def test_of_many_texts_languages_and_tokens_are_those_of_a_sample(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_tool.modes.checkup.SAMPLE", 50)
    report = checked(rows(), language_column=None)
    assert report.languages_of == 50
    assert sum(report.languages.values()) == 50
    (tokens,) = report.tokens
    assert tokens.sampled == 50
    assert SAMPLE > 50


def test_lengths_are_counted_in_characters_and_in_the_models_tokens(checked: Checked) -> None:
    table = [*rows(), {"text": "word " * 200, "mood": "glad"}]
    report = checked(table, max_length=16)
    assert report.characters.most == 999
    (tokens,) = report.tokens
    assert tokens.limit == 16
    assert tokens.sampled == 121
    assert tokens.spread.most >= 202
    assert tokens.over == pytest.approx(1 / 121) or tokens.over > 0.5
    found = only(report, "long_texts")
    assert f"{100 * tokens.over:.1f} % of the texts are longer than 16 tokens" in found.what


def test_a_model_that_is_not_here_is_said_and_the_rest_is_checked(checked: Checked) -> None:
    report = checked(rows(), model="somebody/elsewhere")
    assert report.tokens == ()
    assert "somebody/elsewhere is not on this machine yet" in only(report, "model").what


def test_the_same_text_again_is_found_and_different_labels_of_it_are(checked: Checked) -> None:
    table = rows()
    table += [
        dict(table[0]),
        {**table[1], "mood": "glad"},
        {**table[2], "text": table[2]["text"].upper()},
    ]
    report = checked(table)
    assert kinds(report) == [("warning", "exact_duplicates"), ("warning", "contradictions")]
    twice = only(report, "exact_duplicates")
    assert twice.what == "3 rows with the same text as another one (3 texts more than once)."
    assert (twice.count, twice.rows) == (3, ("122", "123", "124"))
    assert "stay in one part" in twice.default
    torn = only(report, "contradictions")
    assert (torn.key, torn.count, torn.rows) == ("mood", 2, ("3", "123"))


def test_with_a_split_column_copies_leave_the_earlier_part(checked: Checked) -> None:
    table = [{**row, "split": ("train", "train", "test")[i % 3]} for i, row in enumerate(rows())]
    table.append({**table[0], "split": "test"})
    report = checked(table)
    assert "left out of the earlier one" in only(report, "exact_duplicates").default


def test_texts_that_are_almost_the_same_are_found(checked: Checked) -> None:
    long = "The committee met on Tuesday to look once more at what the harbour needs and who pays"
    table = [
        *rows(),
        {"text": f"{long} for it", "mood": "glad"},
        {"text": f"{long} for all", "mood": "glad"},
    ]
    report = checked(table)
    assert kinds(report) == [("warning", "near_duplicates")]
    assert only(report, "near_duplicates").rows == ("123",)


def test_rows_without_a_label_are_counted_by_key(checked: Checked) -> None:
    table = rows()
    for row in table[:3]:
        row["mood"] = ""
    report = checked(table)
    found = only(report, "without_label")
    assert found.what == "mood: 3 rows without a value."
    assert found.rows == ("2", "3", "4")
    assert report.keys["mood"].without == 3


def test_small_and_unequal_classes_are_named_with_their_rows(checked: Checked) -> None:
    table = rows()
    for row in table[:8]:
        row["mood"] = "odd"
    report = checked(table)
    assert kinds(report) == [("warning", "small_classes")]
    assert only(report, "small_classes").what == "mood: fewer than 30 rows each: odd (8)."
    for row in table[8:115]:
        row["mood"] = "glad"
    report = checked(table)
    assert ("note", "imbalance") in kinds(report)
    assert "36 times the rows" in only(report, "imbalance").what


def test_what_a_run_would_refuse_is_an_error_and_comes_first(checked: Checked) -> None:
    table = rows()
    table[0]["mood"] = "alone"
    report = checked(table)
    assert report.refused
    assert kinds(report)[0] == ("error", "refused")
    assert "alone (1)" in report.findings[0].what
    assert report.findings[0].proposal


def test_a_column_that_says_the_label_is_found_and_one_that_does_not_is_not(
    checked: Checked,
) -> None:
    table = [
        {
            **row,
            "code": {"glad": "1", "cross": "2"}[row["mood"]],
            "outlet": f"paper {i % 7}",
            "number": str(i),
        }
        for i, row in enumerate(rows())
    ]
    report = checked(table, label="mood")
    (leak,) = [finding for finding in report.findings if finding.kind == "leak"]
    assert leak.what == "code says mood for 100.0 % of the rows."
    table[0]["code"] = "2"
    table[2]["code"] = "2"
    assert "leak" not in dict(map(reversed, kinds(checked(table, label="mood"))))


def test_a_label_that_stands_in_its_own_texts_is_found(checked: Checked) -> None:
    table = rows()
    for row in table:
        if row["mood"] == "glad":
            row["text"] += " [GLAD]"
    (leak,) = checked(table).findings
    assert leak.kind == "leak"
    assert leak.what == "mood: 'glad' stands in 100 % of its own texts, and in hardly another one."


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the cafÃ© on the corner is closed", "garbled"),
        ("itâ€™s a matter of taste", "garbled"),
        ("read <b>this</b> first<br/>", "markup"),
        ("ok", "short"),
    ],
)
def test_odd_texts_are_found_by_their_rows(checked: Checked, text: str, kind: str) -> None:
    report = checked([*rows(), {"text": text, "mood": "glad"}])
    assert kinds(report) == [("warning", kind)]
    assert only(report, kind).rows == ("122",)


@pytest.mark.parametrize(
    "text", ["São Paulo, Ângela", "a < b and c > d", "très bien — déjà vu", "日本語"]
)
def test_texts_that_only_look_odd_are_left_alone(checked: Checked, text: str) -> None:
    assert checked([*rows(), {"text": text, "mood": "glad"}]).findings == ()


def test_rows_without_a_text_are_said(checked: Checked) -> None:
    table = rows()
    table[4]["text"] = " "
    report = checked(table)
    assert (report.rows, report.texts) == (120, 119)
    assert only(report, "reading").what == "1 row (6) left out: no text."


def test_a_language_that_the_model_does_not_know_is_said(checked: Checked) -> None:
    table = [{**row, "lang": "fr"} for row in rows()]
    report = checked(table, language_column="lang", model="bert-base-uncased")
    assert "was not pretrained on FR" in only(report, "language").what


def test_data_that_cannot_be_read_are_an_error(write: Write) -> None:
    with pytest.raises(StudioError, match="The file is empty"):
        check(make_config({"data": str(write("a.csv", ""))}))


def test_spread_is_of_the_numbers() -> None:
    assert asdict(spread(range(1, 102))) == {
        "least": 1,
        "median": 51,
        "percentile_95": 96,
        "most": 101,
    }
    assert spread([7]).percentile_95 == 7


@pytest.mark.skipif(not SHARED.exists(), reason="the public data sets are not there")
def test_real_data_show_their_duplicates_and_contradictions(tiny_bert: Path) -> None:
    data = str(SHARED / "sentiment_en_fr_es.csv")
    report = check(make_config({"data": data, "model": str(tiny_bert)}))
    assert report.languages == {"EN": 3033, "FR": 3033, "ES": 3033}
    assert only(report, "exact_duplicates").count == 8
    assert only(report, "contradictions").count == 4
    assert not report.refused
