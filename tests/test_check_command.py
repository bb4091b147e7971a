"""``llm-tool check`` as a user runs it: text, JSON, a saved report, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks.checking import check_and_pandas
from tests.conftest import Run


def words(text: str) -> list[str]:
    """Return the words of a report, whatever the width at which its lines are broken."""
    return [word for word in text.split() if word.strip("─")]


def test_the_report_is_text_and_the_same_in_a_file(run: Run, tmp_path: Path) -> None:
    done = run("check", "demo", "--save", "report.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "demo: 600 rows (comma-separated, UTF-8)" in done.stdout
    assert "languages: EN 300 (50 %), FR 300 (50 %)" in done.stdout
    saved = (tmp_path / "report.txt").read_text("utf-8")
    assert words(saved) == words(done.stdout)


def test_the_report_is_one_json_object(run: Run) -> None:
    done = run("check", "demo", "-l", "sentiment", "--json")
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert report["rows"] == report["texts"] == 600
    assert report["languages"] == {"EN": 300, "FR": 300}
    assert report["keys"]["sentiment"]["values"] == {
        "negative": 225,
        "neutral": 210,
        "positive": 165,
    }
    (tokens,) = report["tokens"]
    assert tokens["model"] == "all-MiniLM-L6-v2"
    (finding,) = report["findings"]
    assert finding["kind"] == "language"
    assert finding["level"] == "warning"


def test_data_that_a_run_would_refuse_exit_with_2(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"a text about number {i},{'ab'[i % 2]}\n" for i in range(40))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}one text alone,c\n", "utf-8")
    done = run("check", "a.csv")
    assert done.returncode == 2
    assert "✗ Classes with too few rows" in done.stdout
    assert run("check", "a.csv", "--set", "small_classes=drop").returncode == 0


def test_data_that_cannot_be_read_exit_with_2_and_say_why(run: Run) -> None:
    done = run("check", "missing.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The file does not exist." in done.stderr


def test_settings_of_a_file_are_used(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("label: [sentiment]\nmax_length: 16\n", "utf-8")
    report = json.loads(run("check", "demo", "--config", "s.yaml", "--json").stdout)
    assert list(report["keys"]) == ["sentiment"]
    assert report["tokens"][0]["limit"] == 16
    assert report["tokens"][0]["over"] > 0.5


def test_what_a_file_says_is_never_markup(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"a text about number {i},{'ab'[i % 2]}\n" for i in range(40))
    text = rows.replace(",a", ",[red]x[/red]").replace(",b", ",\x1b[31my")
    (tmp_path / "a.csv").write_text(f"text,label\n{text}", "utf-8")
    done = run("check", "a.csv")
    assert "[red]x[/red]" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_table_of_many_rows_is_checked_in_little_memory() -> None:
    (check,), (pandas,) = check_and_pandas(20_000, repeats=1)
    assert json.loads(check.output)["rows"] == 20_000
    assert check.peak_gb < 1.5
    assert 0 < pandas.seconds < check.seconds
