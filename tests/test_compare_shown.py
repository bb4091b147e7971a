"""What a comparison looks like: sentences, tables at 80 columns, LaTeX, JSON, the studio."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from llm_tool.analysis.compare import Comparison, Contest, Pair, compare
from llm_tool.analysis.compare_latex import latex
from llm_tool.analysis.compare_text import refusal, rounded, scope_gap, summary, titles, verdict
from llm_tool.cli.app import app
from llm_tool.logs.session import command_line
from llm_tool.plan import Task
from llm_tool.studio.compare import show_comparison
from llm_tool.text import escape_latex
from llm_tool.trainers.resampling import Interval
from tests.archives import archive, noisy, table, training
from tests.conftest import FINISHED, runner
from tests.terminal import DOWN, Terminal
from tests.test_compare import own_models

HOSTILE = "\\input{x}_50%&$#^~{}[b]|\x1b[31m"
TRUE = ["good", "bad", "good"] * 40


def made(*models: tuple[str, float], languages: tuple[str, ...] = ("EN", "FR")) -> Comparison:
    """Return the comparison of models that are right in about a share of 120 items."""
    own = [languages[i % len(languages)] for i in range(len(TRUE))]
    trainings = [
        training(table(TRUE, noisy(TRUE, right, i), languages=own), model=name, val=right)
        for i, (name, right) in enumerate(models)
    ]
    return compare([archive(*trainings)], repetitions=200)


@pytest.fixture(scope="module")
def contest() -> Contest:
    return made(("org/a", 0.8), ("org/b", 0.7)).contests[0]


PAIR = Pair(
    "a", "b", Interval(-0.012, -0.034, 0.01), 12, 20, 0.28, 0.28, 0.215, 0.215, False, 2020
)  # fmt: skip


def test_a_pair_that_cannot_be_told_apart_says_so_and_what_it_would_take(contest: Contest) -> None:
    assert contest.items == 120
    assert verdict(PAIR, contest) == (
        "b and a cannot be told apart: macro F1 differs by 0.012 [-0.010, 0.034], p = 0.280 "
        "(paired bootstrap); accuracy: p = 0.215 (McNemar exact). About 1,900 more test items "
        "would be needed to tell such a difference with 80 % power."
    )
    far = replace(PAIR, items_needed=40_000_000)
    assert verdict(far, contest).endswith(
        "More than a million more test items would be needed to tell such a difference."
    )
    unknown = replace(PAIR, items_needed=None)
    assert verdict(unknown, contest).endswith(
        "How many more test items it would take cannot be said from these."
    )
    nothing = replace(unknown, difference=Interval(0.0, -0.01, 0.01))
    assert verdict(nothing, contest).endswith(
        "No number of test items would tell a difference that is not there."
    )
    same = replace(PAIR, difference=Interval(0.0, 0.0, 0.0), only_first=0, only_second=0)
    assert verdict(same, contest) == (
        "a and b cannot be told apart: they are right on the same test items."
    )
    assert "In accuracy they can." in verdict(replace(PAIR, mcnemar_holm=0.01), contest)


def test_a_pair_that_is_told_apart_names_the_better_one_and_warns_of_seeds(
    contest: Contest,
) -> None:
    told = replace(
        PAIR,
        difference=Interval(0.05, 0.02, 0.08),
        bootstrap_holm=0.0004,
        distinguishable=True,
        items_needed=None,
    )
    said = (
        "a is better than b: macro F1 higher by 0.050 [0.020, 0.080], p < 0.001 (paired "
        "bootstrap); accuracy: p = 0.215 (McNemar exact)."
    )
    assert verdict(told, contest) == said
    first, second = contest.entries
    unsteady = replace(contest, entries=(replace(first, seed_spread=0.06), second))
    assert verdict(told, unsteady) == f"{said} Other seeds alone change it as much: ± 0.060."


def test_of_many_models_a_sentence_says_which_could_be_the_best_as_well() -> None:
    (contest,) = made(("a", 0.95), ("b", 0.94), ("c", 0.3)).contests
    assert summary(contest) == "a cannot be told apart from b."
    (contest,) = made(("a", 0.95), ("b", 0.2), ("c", 0.3)).contests
    assert summary(contest) == "a is better than any of the 2 others."
    (contest,) = made(("a", 0.6), ("b", 0.6), ("c", 0.6)).contests
    assert summary(contest) == "a cannot be told apart from any of the 2 others."
    assert (
        summary(made(("a", 0.6)).contests[0]) == "There is no other model on the same test items."
    )
    (contest,) = made(("a", 0.6), ("b", 0.6), ("c", 0.6)).contests
    wrong = replace(contest.pairs[0], difference=Interval(-0.2, -0.3, -0.1), distinguishable=True)
    upset = replace(contest, pairs=(wrong, *contest.pairs[1:]))
    assert summary(upset) == "On the test b did better than a."


def test_test_sets_of_one_category_are_told_apart_by_their_sessions() -> None:
    first = training(table(TRUE, noisy(TRUE, 0.8, 1)), language="EN")
    fewer = table(TRUE[:90], noisy(TRUE[:90], 0.8, 1))
    second = training(fewer, language="EN", session="s2")
    found = compare([archive(first), archive(second)], repetitions=50)
    assert titles(found) == [
        "sentiment · EN · 120 test items · session s1",
        "sentiment · EN · 90 test items · session s2",
    ]
    assert refusal(found.refusals[0]) == (
        "sentiment · EN: s2/j0001: Not paired with s1/j0001: other test rows of the same data: "
        "120 and 90, 90 of them in both."
    )


def test_counts_are_rounded_to_two_digits() -> None:
    assert [rounded(n) for n in (7, 94, 123, 1923, 130_499)] == [7, 94, 120, 1900, 130_000]


def shown(found: Comparison, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    show_comparison(console, found)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_at_80_columns_every_number_is_there_and_only_names_are_shortened() -> None:
    long = "an-organisation/a-model-with-a-name-of-fifty-characters-"
    found = made(*((f"{long}{i}", 0.8 - 0.1 * i) for i in range(5)))
    lines = shown(found, 80)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    (contest,) = found.contests
    for entry in contest.entries:
        interval = entry.f1_macro
        assert f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]" in text
    for pair in contest.pairs:
        assert f"[{abs(pair.difference.low):.3f}"[1:] in text
    assert "a-mo" in text


@pytest.mark.parametrize(
    ("width", "title"),
    [
        (120, "F1 by language               EN (60)               FR (60)  gap [95 %]"),
        (80, "F1 by language  EN (60)  FR (60)  gap [95 %]"),
        (56, "F1 by language  gap [95 %]"),
    ],
)
def test_narrow_terminals_lose_columns_of_languages_and_never_the_gap(
    width: int, title: str
) -> None:
    lines = shown(made(("a", 0.8), ("b", 0.7)), width)
    at = next(i for i, line in enumerate(lines) if line.startswith("F1 by language"))
    assert lines[at] == title
    assert re.search(r"(EN over FR|FR over EN) 0\.\d{3} \[-?0\.\d{3}, 0\.\d{3}\]$", lines[at + 1])


def test_hostile_names_are_shown_and_never_obeyed() -> None:
    task = Task(HOSTILE, "", ("bad", "good"))
    trainings = [
        training(table(TRUE, noisy(TRUE, 0.8, i)), model=f"[bold]{HOSTILE}{i}", task=task)
        for i in (1, 2)
    ]
    found = compare([archive(*trainings)], repetitions=50)
    text = "\n".join(shown(found, 300))
    assert "\x1b" not in text
    assert "[bold]\\input{x}_50%&$#^~{}[b]|\\x1b[31m1" in text

    tables = latex(found)
    assert "\x1b" not in tables
    body = tables.replace(escape_latex(HOSTILE), "").replace(escape_latex("[bold]"), "")
    assert r"\input" not in body
    assert escape_latex(HOSTILE) == (
        r"\textbackslash{}input\{x\}\_50\%\&\$\#\textasciicircum{}\textasciitilde{}\{\}"
        r"{[}b{]}\textbar{}\textbackslash{}x1b{[}31m"
    )
    # Each row of a table has as many cells as its title.
    for tabular in re.findall(r"\\toprule\n(.*?)\\bottomrule", tables, re.S):
        cells = {len(re.findall(r"(?<!\\)&", line)) for line in tabular.splitlines() if "&" in line}
        assert len(cells) == 1


def test_the_latex_tables_are_booktabs_with_every_number() -> None:
    found = made(("a", 0.9), ("b_2", 0.8))
    (contest,) = found.contests
    first, second = contest.entries
    (pair,) = contest.pairs

    def cell(interval: Interval) -> str:
        ends = f"{interval.low:.3f}, {interval.high:.3f}".replace("-", "$-$")
        return f"{interval.value:.3f} {{[}}{ends}{{]}}"

    rows = [
        f"{name} & {entry.val:.3f} & {cell(entry.f1_macro)} & -- & {entry.accuracy:.3f} & "
        f"{entry.languages[0].f1_macro.value:.3f} & {entry.languages[1].f1_macro.value:.3f} & "
        f"{entry.gap.best}--{entry.gap.worst} {cell(entry.gap.difference)} \\\\"
        for name, entry in (("a", first), (r"b\_2", second))
        if entry.gap
    ]
    needed = (
        r"\textendash{}" if pair.items_needed is None else f"{rounded(pair.items_needed - 120):,}"
    )
    lines = latex(found).splitlines()
    assert lines[0] == r"% Needs \usepackage{booktabs}."
    assert [line for line in lines if line.startswith(("a &", "b"))] == [
        *rows,
        f"a & b\\_2 & {cell(pair.difference)} & {pair.bootstrap_holm:.3f} & "
        f"{pair.mcnemar_holm:.3f} & {needed} \\\\",
    ]
    for name in ("table", "tabular"):
        assert sum(rf"\begin{{{name}}}" in line for line in lines) == 2
        assert sum(rf"\end{{{name}}}" in line for line in lines) == 2


def run(finished: Path, *words: str) -> tuple[int, str, str]:
    """Run a command in this process, on the session that is only to be read."""
    logs = ["--logs-dir", str(finished / "training_logs")]
    done = CliRunner().invoke(app, ["compare", *words, *logs], env={"COLUMNS": "80"})
    return done.exit_code, done.stdout, done.stderr


def test_the_command_prints_contests_verdicts_and_how_to_read_them(finished: Path) -> None:
    done = runner(finished)("compare", FINISHED)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sentiment · 24 test items" in done.stdout
    assert "topic · 24 test items" in done.stdout
    assert "tiny-bert" in done.stdout
    assert "cannot be told apart" in done.stdout
    assert "the test is the estimate" in " ".join(done.stdout.split())


def test_json_is_the_whole_comparison_in_one_object(finished: Path) -> None:
    code, out, err = run(finished, FINISHED, "--json", "--category", "topic")
    assert (code, err) == (0, "")
    (contest,) = json.loads(out)["contests"]
    assert contest["category"] == "topic"
    assert {entry["name"] for entry in contest["entries"]} == {"tiny-bert", "other-bert"}
    assert set(contest["pairs"][0]) == set(Pair.__dataclass_fields__)
    assert json.loads(json.dumps(asdict(made(("a", 0.7))), allow_nan=False))


def test_latex_goes_to_stdout(finished: Path) -> None:
    code, out, _ = run(finished, FINISHED, "--latex", "--category", "topic")
    assert code == 0
    assert out.startswith("% Needs \\usepackage{booktabs}.\n\n\\begin{table}\n")
    assert out.count("tiny-bert") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["20990101_000000"], "There is no such session."),
        ([FINISHED, "--category", "topics"], "There is no category 'topics'"),
        ([FINISHED, "--category", "topics"], "Did you mean topic?"),
        ([FINISHED, "--json", "--latex"], "Give one of them."),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_exit_code_2(
    finished: Path, words: list[str], said: str
) -> None:
    code, out, err = run(finished, *words)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_a_session_without_any_test_result_has_nothing_to_compare(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "training_logs", tmp_path / "training_logs")
    for journal in tmp_path.rglob("journal.jsonl"):
        journal.unlink()
    code, out, err = run(tmp_path, FINISHED)
    assert (code, out) == (2, "")
    assert "no training has test results" in " ".join(err.split())


def test_the_equivalent_command_names_the_sessions_and_a_folder_of_its_own() -> None:
    assert command_line("compare", "a", "b", logs_dir="training_logs") == "llm-tool compare a b"
    assert (
        command_line("compare", "a", logs_dir=Path("my logs"))
        == "llm-tool compare a --logs-dir 'my logs'"
    )


def test_the_studio_asks_for_sessions_shows_the_comparison_and_teaches_the_command(
    finished: Path,
) -> None:
    terminal = Terminal([sys.executable, "-m", "llm_tool"], folder=finished, lines=60)
    try:
        terminal.wait_for("Quit")
        menu = terminal.text().split("What would you like to do?")[1].splitlines()[1:]
        options = [line for line in menu if "──" not in line]
        at = next(i for i, line in enumerate(options) if "Compare" in line)
        terminal.answer("What would you like to do?", *[DOWN] * at)
        terminal.answer("Which sessions?")
        terminal.wait_for(f"llm-tool compare {FINISHED}", 60)
        text = terminal.text()
        assert "sentiment · 24 test items" in text
        assert "cannot be told apart" in text
        assert max(len(line) for line in text.splitlines()) <= 80
        terminal.wait_for_question("What would you like to do?")
    finally:
        terminal.close()


def test_gaps_between_languages_with_models_of_their_own_are_shown_and_put_in_latex() -> None:
    names = {"EN": "org/bert", "FR": f"org/{HOSTILE}"}
    found = compare([archive(*own_models({"EN": 0.9, "FR": 0.5}, names=names))], repetitions=100)
    (own,) = found.gaps
    text = "\n".join(shown(found, 300))
    assert scope_gap(own).startswith("sentiment: EN is over FR in macro F1 by 0.")
    assert scope_gap(own) in text
    assert "their models differ: bert and " in text
    assert "\x1b" not in text
    assert escape_latex("EN") + "--FR & Gap" in latex(found)
    assert r"\input" not in latex(found)
    near = replace(own, gap=replace(own.gap, difference=Interval(0.01, -0.02, 0.04)))
    assert scope_gap(near).startswith("sentiment: EN and FR cannot be told apart")
    assert max(map(len, shown(found, 80))) <= 80
