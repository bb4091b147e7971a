"""The report as LaTeX and Markdown, and what it says of the methods."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from llm_tool.analysis.report import english, french
from llm_tool.analysis.report.facts import gather
from llm_tool.analysis.report.methods import Method, methods
from llm_tool.analysis.report.render import render
from llm_tool.config import RunConfig
from llm_tool.logs.archive import Archive, read_session
from llm_tool.plan import Task
from llm_tool.text import escape_latex, escape_markdown
from tests.conftest import FINISHED
from tests.made_sessions import made_session

NBSP, THIN = "\u00a0", "\u202f"
HOSTILE = (
    r"\input{/etc/passwd} & 100 % of $5 #1 a_b {x ~ ^",
    "[1ex] after a line break",
    "* starred --- dashes | `code` <b>",
    "}\\end{tabular}",
    "line\nbreak",
)


@pytest.fixture(scope="module")
def archive(finished: Path) -> Archive:
    return read_session(finished / "training_logs", FINISHED)


@pytest.fixture(scope="module")
def method(archive: Archive) -> Method:
    (found,) = methods(gather(archive))
    return found


def tokens(latex: str) -> list[str]:
    """Return LaTeX in the pieces that TeX sees, without comments."""
    lines = [line for line in latex.split("\n") if not line.startswith("%")]
    return re.findall(r"\\[a-zA-Z]+|\\.|[^\\]", "\n".join(lines), re.S)


def check_latex(latex: str) -> None:
    """Fail unless braces, environments and the cells of every table's row are in balance."""
    depth, environments = 0, []
    for token in tokens(latex):
        depth += (token == "{") - (token == "}")
        assert depth >= 0
    assert depth == 0
    body = "\n".join(line for line in latex.split("\n") if not line.startswith("%"))
    for verb, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if verb == "begin":
            environments.append(name)
        else:
            assert environments.pop() == name
    assert environments == []
    assert set(re.findall(r"(?<!\\)[#_^]", re.sub(r"\\label\{.*?\}", "", body))) == set()
    for columns, table in re.findall(
        r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.S
    ):
        for row in table.split(r"\\" + "\n")[:-1]:
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
            first = re.sub(r"(\s|\\(top|mid|bottom)rule|\\addlinespace)*", "", row, count=1)
            assert not first.startswith(("[", "*"))  # an option of the line break before it


def test_latex_has_a_table_of_scores_of_classes_of_data_and_of_differences(
    archive: Archive,
) -> None:
    latex = render(archive, "latex")

    check_latex(latex)
    labels = re.findall(r"\\label\{(.*?)\}", latex)
    assert labels == [
        "tab:scores", "tab:classes-1-1", "tab:data-1-1", "tab:classes-2-1", "tab:data-2-1",
        "tab:comparison",
    ]  # fmt: skip
    for training in archive.done:
        assert training.ended
        assert training.ended.test
    assert r"\usepackage{booktabs}" in latex


def test_names_are_never_latex(tmp_path: Path) -> None:
    tasks = [Task(HOSTILE[0], "", HOSTILE, ("EN", "[FR]")), Task("a", "", HOSTILE[:2])]
    archive = made_session(tmp_path, tasks, models=[*HOSTILE[1:4]], data="100%_of & #1.csv")

    latex = render(archive, "latex")

    check_latex(latex)
    assert r"\input" not in tokens(latex)
    assert r"\textbackslash" in tokens(latex)
    assert latex.count(r"\end{tabular}") == latex.count(r"\begin{tabular}") == 6
    assert r"{[}1ex{]} after a line break &" in latex
    assert r"{*} starred -{}-{}- dashes \textbar{} \textasciigrave{}code" in latex
    assert r"line\textbackslash{}nbreak &" in latex


def test_french_typography_has_its_commands_in_latex() -> None:
    assert escape_latex(f"«{NBSP}a{NBSP}»{THIN}; 5{NBSP}%") == r"«~a~»\,; 5~\%"


def markdown_rows(markdown: str) -> list[list[str]]:
    """Return the cells of every row of a table, as Markdown splits them."""
    lines = [line for line in markdown.split("\n") if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_names_are_never_markdown(tmp_path: Path) -> None:
    tasks = [Task(HOSTILE[0], "", HOSTILE, ("EN",)), Task("a", "", HOSTILE[:2])]
    archive = made_session(tmp_path, tasks, models=HOSTILE[1:4])

    markdown = render(archive, "markdown")

    block: list[int] = []
    for line in [*markdown.split("\n"), ""]:
        if line.startswith("|"):
            block += [len(row) for row in markdown_rows(line)]
        elif block:
            assert len(block) > 2
            assert len(set(block)) == 1
            block = []
    assert "<b>" not in markdown.replace(r"\<b\>", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("---", r"\---"),
        ("# title", r"\# title"),
        ("1. item", r"1\. item"),
        ("0.641", "0.641"),
        ("all_done, _so_", r"all_done, \_so\_"),
        ("[a](http://x)", r"\[a\](http\://x)"),
        ("a | b", r"a \| b"),
        ("+ x", r"\+ x"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, shown: str) -> None:
    assert escape_markdown(text) == shown


def test_the_methods_in_english_are_the_facts_of_the_session(method: Method) -> None:
    said = english.paragraph(method)

    for fact in (
        "tiny-bert and other-bert",
        "the data “tweets.csv”",
        "the 2 classes of “sentiment” and the 3 classes of “topic”",
        "in EN and FR",
        "24 to 25 test texts"
        if method.rows[2] == (24, 25)
        else f"{method.rows[2][0]:g} test texts",
        "3 epochs with batches of 8 texts",
        "peak learning rate of 0.01",
        "64 tokens",
        "The epoch with the highest macro F1 on the validation texts was kept.",
        "2 seeds (1 and 2)",
        f"PyTorch {method.versions['torch']}",
        "on a CPU",
    ):
        assert fact in said
    assert "weak" not in said  # no such phase
    assert "weighted" not in said
    assert "column “" not in said  # who made the split is not recorded


def test_the_methods_in_french_keep_its_typography(method: Method) -> None:
    said = french.paragraph(method)

    assert f"données «{NBSP}tweets.csv{NBSP}»" in said
    assert "3 époques, par lots de 8 textes" in said
    assert "taux d’apprentissage maximal de 0,01" in said
    assert f"95{NBSP}% par bootstrap" in said
    assert f"10{NBSP}% des pas" in said
    assert "'" not in said
    assert not re.search(f"[^{NBSP}][:%»]|«[^{NBSP}]|[^{THIN}];", said)
    own = said.split("Logiciels")[0].replace("tweets.csv", "")
    assert not re.search(r"\d\.\d", own)  # versions apart, decimals have a comma
    assert french.number(1200) == f"1{THIN}200"
    assert french.counted(1, "époque") == "1 époque"


SAID = {
    "class_weights": ("balanced", "weighted by the inverse", "pondérées par l’inverse"),
    "oversample": ("balanced", "drawn more often", "tirés plus souvent"),
    "group_column": ("author", "one value of “author” stayed", "une valeur de"),
    "split_column": ("part", "those of the column “part”", "celle de la colonne"),
    "patience": (2, "stopped after 2 epochs", "s’arrêtait après 2 époques"),
}


@pytest.mark.parametrize("setting", SAID)
def test_a_setting_is_told_when_it_was_used_and_only_then(method: Method, setting: str) -> None:
    value, in_english, in_french = SAID[setting]
    used = replace(method, config=method.config | {setting: value})

    assert in_english in english.paragraph(used)
    assert in_french in french.paragraph(used)
    assert in_english not in english.paragraph(method)
    assert in_french not in french.paragraph(method)


def test_long_texts_reinforcement_thresholds_and_folds_are_told(method: Method) -> None:
    full = replace(
        method, long_texts=(("chunked", 1200), ("cut", 1)), reinforced=(3, 2), thresholds=True,
        folds=5, labels=("law", "vote"), shared_encoder=True, monitor="val_loss",
        config=RunConfig().model_dump(),
    )  # fmt: skip

    said = english.paragraph(full)
    for fact in (
        "up to 1,200 longer texts were read in overlapping windows",
        "up to 1 longer text was cut",
        "a validation F1 below 0.6 were trained for up to 2 more epochs",
        "(3 of 8 trainings; the result was kept in 2)",
        "the probability from which a text has the label was chosen on the validation texts",
        "5-fold cross-validation",
        "One network with an output for each label learned “law” and “vote”.",
        "The epoch with the lowest loss",
    ):
        assert fact in said
    said = french.paragraph(full)
    for fact in (
        f"jusqu’à 1{THIN}200 textes plus longs ont été lus par fenêtres",
        "jusqu’à 1 texte plus long a été tronqué",
        "inférieur à 0,6 ont été entraînées pendant 2 époques de plus au maximum",
        "validation croisée à 5 plis",
        f"Un seul réseau, avec une sortie par étiquette, a appris «{NBSP}law{NBSP}» et",
        "minimise la perte",
    ):
        assert fact in said


def test_what_a_session_does_not_record_is_left_out(tmp_path: Path) -> None:
    archive = made_session(tmp_path, [Task("mood", "", ("a", "b"))], test_rows=0)

    (method,) = methods(gather(archive))

    for said in (english.paragraph(method), french.paragraph(method)):
        for word in ("weight decay", "bootstrap", "EN", "FR", "test", "None", "null"):
            assert word not in said
    assert "“mood”" in english.paragraph(method)
