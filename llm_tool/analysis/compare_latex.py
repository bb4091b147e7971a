r"""A comparison as LaTeX: booktabs tables for a paper.

They need ``\usepackage{booktabs}``; nothing of the user's is ever read as a command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llm_tool.analysis.compare_facts import Comparison, Contest, Entry, ScopeGap
from llm_tool.analysis.compare_text import more_items, short_p, titles
from llm_tool.text import escape_latex
from llm_tool.trainers.resampling import Interval


def latex(comparison: Comparison) -> str:
    """Return a table of scores for each contest, and one of its pairs where there are several."""
    lines = [r"% Needs \usepackage{booktabs}."]
    for title, contest in zip(titles(comparison), comparison.contests, strict=True):
        lines += ["", *_scores(escape_latex(title), contest)]
        if contest.pairs:
            lines += ["", *_pairs(escape_latex(title), contest, comparison.repetitions)]
    if comparison.gaps:
        lines += ["", *_scope_gaps(comparison.gaps)]
    return "\n".join(lines) + "\n"


def _scores(title: str, contest: Contest) -> Iterator[str]:
    languages = [result.language for result in contest.entries[0].languages]
    gaps = any(entry.gap for entry in contest.entries)
    if len(languages) < 2:
        languages = []
    head = ["Model", "Val.\\ F1", "Test F1 {[}95\\,\\%{]}", "SD", "Accuracy"]
    head += [escape_latex(name) for name in languages] + ["Gap {[}95\\,\\%{]}"] * gaps
    caption = (
        f"{title}: macro F1 on validation, by which models are in order, and "
        "on the test, with 95\\,\\% bootstrap intervals; SD over seeds."
    )
    if gaps:
        caption += " Gap: the best language over the worst, in macro F1."
    rows = [_row(entry, languages, gaps) for entry in contest.entries]
    return _table(head, "lr" + "l" + "r" * (2 + len(languages)) + "l" * gaps, rows, caption)


def _row(entry: Entry, languages: Sequence[str], gaps: bool) -> list[str]:
    scores = {result.language: f"{result.f1_macro.value:.3f}" for result in entry.languages}
    cells = [
        escape_latex(entry.name),
        f"{entry.val:.3f}",
        _interval(entry.f1_macro),
        "--" if entry.seed_spread is None else f"{entry.seed_spread:.3f}",
        f"{entry.accuracy:.3f}",
        *(scores.get(language, "--") for language in languages),
    ]
    if gaps:
        found = entry.gap
        names = f"{escape_latex(found.best)}--{escape_latex(found.worst)} " if found else "--"
        cells.append(names + (_interval(found.difference) if found else ""))
    return cells


def _pairs(title: str, contest: Contest, repetitions: int) -> Iterator[str]:
    head = ["Model", "Other", "Difference {[}95\\,\\%{]}", "$p$", "McNemar $p$", "More items"]
    caption = (
        f"{title}: differences in test macro F1 with paired bootstrap "
        f"intervals ({repetitions:,} draws within classes); $p$ of the bootstrap and of McNemar's "
        "exact test, Holm-corrected for all pairs; test items that it takes beyond these to tell "
        "such a difference with 80\\,\\% power."
    )
    rows = [
        [
            escape_latex(pair.first),
            escape_latex(pair.second),
            _interval(pair.difference),
            escape_latex(short_p(pair.bootstrap_holm)),
            escape_latex(short_p(pair.mcnemar_holm)),
            escape_latex(more_items(pair, contest)),
        ]
        for pair in contest.pairs
    ]
    return _table(head, "lllrrr", rows, caption)


def _scope_gaps(gaps: Sequence[ScopeGap]) -> Iterator[str]:
    head = ["Category", "Language", "Model", "Items", "Test F1 {[}95\\,\\%{]}"]
    caption = (
        "Macro F1 of the best model on validation of each language, on its own test items, with "
        "95\\,\\% bootstrap intervals; Gap: the best language over the worst, of models, training "
        "rows and texts together."
    )
    rows = []
    for one in gaps:
        category = escape_latex(one.category)
        for own in one.models:
            about = [category, escape_latex(own.language), escape_latex(own.name)]
            rows.append([*about, f"{own.items:,}", _interval(own.f1_macro)])
        names = f"{escape_latex(one.gap.best)}--{escape_latex(one.gap.worst)}"
        rows.append([category, names, "Gap", "", _interval(one.gap.difference)])
    return _table(head, "lllrr", rows, caption)


def _table(
    head: Sequence[str], columns: str, rows: Sequence[Sequence[str]], caption: str
) -> Iterator[str]:
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{caption}}}"
    yield rf"\begin{{tabular}}{{{columns}}}"
    yield r"\toprule"
    yield " & ".join(head) + r" \\"
    yield r"\midrule"
    for row in rows:
        yield " & ".join(row) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _interval(interval: Interval) -> str:
    ends = f"{_number(interval.low)}, {_number(interval.high)}"
    return f"{_number(interval.value)} {{[}}{ends}{{]}}"


def _number(value: float) -> str:
    return f"$-${-value:.3f}" if round(value, 3) < 0 else f"{abs(value):.3f}"
