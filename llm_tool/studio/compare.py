"""Sessions compared: which model is better, and how sure that is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError, nearest
from llm_tool.logs.overview import list_sessions
from llm_tool.logs.session import command_line
from llm_tool.studio.choose_session import titles
from llm_tool.studio.runs import status
from llm_tool.studio.theme import GOOD, QUIET, STRONG, WARN, Column, print_table, rule, show_error
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import visible

if TYPE_CHECKING:
    from llm_tool.analysis.compare import Comparison, Contest, Pair, ScopeGap


_TOGETHER = re.compile(
    r"(?<=\d) (?=\[)|(?<=\.\d\d\d,) (?=-?\d)|(?<=\bp) (?=[=<])|(?<=[=<±]) (?=\d)"
)


def compare_sessions(
    talk: Console, logs_dir: str | Path, sessions: Sequence[str], categories: Sequence[str] = ()
) -> Comparison:
    """Read sessions and compare their models; what takes a moment is said on a terminal.

    Args:
        talk: Where to say so.
        logs_dir: Folder of the logs.
        sessions: Ids of the sessions.
        categories: Only these, if any are named.

    Raises:
        StudioError: There is no such session or category, or nothing that could be compared.
    """
    from llm_tool.analysis.compare import compare
    from llm_tool.logs.archive import read_session

    with status(talk, "Comparing"):
        archives = [read_session(logs_dir, one) for one in dict.fromkeys(sessions)]
        found = compare(archives, categories=categories)
    known = {c.category for c in found.contests} | {r.category for r in found.refusals}
    for name in categories:
        if name not in known:
            # Only what was asked for was compared: the others' names are those of the folders.
            every = {training.category for archive in archives for training in archive.trainings}
            raise StudioError(
                f"There is no category {visible(name)!r} in {_named(sessions)}.",
                remedy=nearest(name, map(visible, sorted(every))),
            )
    if not found.contests:
        from llm_tool.analysis.compare_text import refusal

        raise StudioError(
            f"There is nothing to compare in {_named(sessions)}: no training has test results.",
            where="; ".join(map(refusal, found.refusals)),
            remedy="Finish the session (llm-tool resume SESSION), or train with test rows.",
        )
    return found


def _named(sessions: Sequence[str]) -> str:
    named = ", ".join(map(visible, dict.fromkeys(sessions)))
    return f"session{'s' if len(set(sessions)) > 1 else ''} {named}"


def show_comparison(console: Console, found: Comparison) -> None:
    """Print every contest, what was not compared, and how to read it."""
    from llm_tool.analysis import compare_text as said

    for title, contest in zip(said.titles(found), found.contests, strict=True):
        rule(console, title)
        _show_contest(console, contest)
    if found.gaps:
        rule(console, "Between languages, each with models of its own")
        _show_scope_gaps(console, found.gaps)
    if found.refusals:
        rule(console, "Not compared")
        for refused in found.refusals:
            _say(console, said.refusal(refused), WARN)
        console.print()
    rule(console, "How to read this")
    for note in found.notes:
        console.print(Text(note), style=QUIET)


def _show_scope_gaps(console: Console, gaps: Sequence[ScopeGap]) -> None:
    from llm_tool.analysis.compare_text import bracketed, scope_gap

    columns = [
        Column("category", flexible=True),
        Column("language"),
        Column("best model", flexible=True),
        Column("test items", "right"),
        Column("test F1 [95 %]", "right"),
    ]
    rows = [
        [one.category, own.language, own.name, f"{own.items:,}", bracketed(own.f1_macro)]
        for one in gaps
        for own in one.models
    ]
    print_table(console, columns, rows)
    for one in gaps:
        _say(console, scope_gap(one))
    console.print()


def _show_contest(console: Console, contest: Contest) -> None:
    from llm_tool.analysis.compare_text import summary, told_pairs, verdict

    _show_entries(console, contest)
    _show_languages(console, contest)
    whole = summary(contest)
    if whole:
        console.print(Text(whole, style=STRONG))
    told = told_pairs(contest)
    for pair in told:
        _say(console, verdict(pair, contest))
    others = [pair for pair in contest.pairs if pair not in told]
    if others:
        _show_pairs(console, contest, others)
    for note in contest.notes:
        _say(console, note, WARN)
    console.print()


def _say(console: Console, sentence: str, style: str = "") -> None:
    """Print a sentence as a point of a list; a number keeps its interval on its line."""
    kept = _TOGETHER.sub("\N{NO-BREAK SPACE}", sentence)
    said = textwrap.fill(
        f"· {kept}",
        console.width - 1,
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    console.print(Text(said.replace("\N{NO-BREAK SPACE}", " "), style=style), soft_wrap=True)


def _show_entries(console: Console, contest: Contest) -> None:
    from llm_tool.analysis.compare_text import bracketed

    seeds = any(len(entry.seeds) > 1 for entry in contest.entries)
    columns = [
        Column("", "right"),
        Column("model", flexible=True),
        *([Column("seeds", "right")] if seeds else []),
        Column("val F1", "right"),
        Column("test F1 [95 %]", "right"),
        *([Column("±", "right")] if seeds else []),
        Column("accuracy", "right", spare=1),
    ]
    rows = [
        [
            f"{place}.",
            entry.name + ("" if entry.complete else " (incomplete)"),
            *([str(len(entry.seeds))] if seeds else []),
            f"{entry.val:.3f}",
            bracketed(entry.f1_macro),
            *([_spread(entry.seed_spread)] if seeds else []),
            f"{entry.accuracy:.3f}",
        ]
        for place, entry in enumerate(contest.entries, start=1)
    ]
    print_table(console, columns, rows, [GOOD] + [""] * (len(rows) - 1))


def _spread(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _show_languages(console: Console, contest: Contest) -> None:
    """Print what each model scores in each language, as fully as there is room for."""
    from llm_tool.analysis.compare_text import bracketed, gap

    languages = contest.entries[0].languages
    if len(languages) < 2:
        return
    name = Column("F1 by language", flexible=True)
    counted = [f"{result.language} ({result.items:,})" for result in languages]
    gaps = [gap(entry.gap) for entry in contest.entries]
    whole = [[bracketed(one.f1_macro) for one in entry.languages] for entry in contest.entries]
    short = [[f"{one.f1_macro.value:.3f}" for one in e.languages] for e in contest.entries]
    room = console.width - cell_len(name.title) - max(map(cell_len, gaps)) - 2
    bare = [result.language for result in languages]
    for scores, heads in ((whole, counted), (short, counted), (short, bare)):
        widths = [max(map(cell_len, (h, *own))) for h, *own in zip(heads, *scores, strict=True)]
        if sum(widths) + 2 * len(widths) <= room:
            break
    else:  # the gap names the two that matter most
        heads, scores = [], [[] for _ in contest.entries]
    columns = [name, *(Column(visible(head), "right") for head in heads), Column("gap [95 %]")]
    rows = [
        [entry.name, *own, shown]
        for entry, own, shown in zip(contest.entries, scores, gaps, strict=True)
    ]
    print_table(console, columns, rows)


def _show_pairs(console: Console, contest: Contest, pairs: Sequence[Pair]) -> None:
    """Print pairs of a contest with many models."""
    from llm_tool.analysis.compare_text import bracketed, more_items, short_p

    columns = [
        Column("first", flexible=True),
        Column("second", flexible=True),
        Column("difference [95 %]", "right"),
        Column("p", "right"),
        Column("McNemar", "right"),
        Column("more items", "right"),
    ]
    # Long names are cut in the middle: their places in the first table stay.
    named = {e.name: f"{place}. {e.name}" for place, e in enumerate(contest.entries, start=1)}
    rows = [
        [
            named[pair.first],
            named[pair.second],
            bracketed(pair.difference, signed=True),
            short_p(pair.bootstrap_holm),
            short_p(pair.mcnemar_holm),
            "told apart" if pair.distinguishable else more_items(pair, contest),
        ]
        for pair in pairs
    ]
    print_table(console, columns, rows)


def ask_and_compare(asker: Asker, console: Console, logs_dir: str | Path) -> None:
    """Ask for sessions that have results, compare their models, and show the command for it."""
    sessions = [one for one in list_sessions(logs_dir) if one.done]
    if not sessions:
        console.print(Text(f"No session in {visible(str(logs_dir))}/ has a result yet."))
        return
    chosen = asker.choose_several("Which sessions?", titles(sessions), [sessions[0].id])
    if chosen is BACK:
        return
    try:
        show_comparison(console, compare_sessions(console, logs_dir, chosen))
    except StudioError as error:
        show_error(console, error)
        return
    console.print(Text("Same thing without questions:"), style=QUIET)
    same = command_line("compare", *chosen, logs_dir=logs_dir)
    console.print(Text(f"  {same}"), soft_wrap=True)
    console.print()
