"""What was found in data, as text."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llm_tool.data.dataset import load_table
from llm_tool.errors import StudioError
from llm_tool.logs.files import disk_errors, replacing
from llm_tool.studio.draft import SKIP, Draft
from llm_tool.studio.runs import reading, status
from llm_tool.studio.theme import BAD, QUIET, STRONG, WARN, Column, print_table, rule
from llm_tool.text import plural, shorten, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.checks import Finding, Spread
    from llm_tool.modes.checkup import KeyFacts, Report

_VALUES_SHOWN = 12
_LANGUAGES_SHOWN = 6
_SAVED_WIDTH = 100
_STYLES = {"error": BAD, "warning": WARN, "note": ""}
_SIGNS = {"error": "✗", "warning": "!", "note": "·"}


def check(config: RunConfig, talk: Console | None = None) -> Report:
    """Return what a user should know about the data of a configuration.

    Args:
        config: Names the data, and says how they would be trained.
        talk: The console that says, on a terminal, what the user waits for.

    Raises:
        StudioError: The file cannot be read, or has no texts or labels.
    """
    from llm_tool.modes.checkup import report
    from llm_tool.trainers.lengths import count_tokens

    with reading(talk) if talk is not None else nullcontext() as on_progress:
        return report(config, count_tokens, on_progress)


def look_over(draft: Draft) -> object:
    """Show what is odd about the data of the answers so far; the same things only once.

    What cannot be read is left to the plan, which says so.
    """
    with status(draft.console, "Looking at the data"), suppress(StudioError):
        from llm_tool.modes.checkup import oddities

        findings = tuple(oddities(*load_table(draft.config)))
        if findings != draft.findings:
            draft.findings = findings
            show_findings(draft.console, findings)
    return SKIP


def show_report(console: Console, report: Report) -> None:
    """Print what was found: rows, lengths, labels, and what becomes of what is odd."""
    rule(console, "Data")
    without = report.rows - report.texts
    said = f"{visible(report.data)}: {plural(report.rows, 'row')} ({report.how})"
    console.print(Text(said + (f", {without:,} without a text" if without else "")))
    roles = "   ".join(f"{role}: {_named(value)}" for role, value in report.columns.items())
    console.print(Text(roles, style=QUIET))
    console.print(Text(_languages(report)))
    _show_lengths(console, report)
    for name, key in report.keys.items():
        _show_key(console, name, key)
    show_findings(console, report.findings)


def _named(value: object) -> str:
    return ", ".join(map(visible, value)) if isinstance(value, tuple) else visible(str(value))


def _languages(report: Report) -> str:
    total = sum(report.languages.values())
    shown = [
        f"{visible(name) or 'unknown'} {count:,} ({100 * count / total:.0f} %)"
        for name, count in list(report.languages.items())[:_LANGUAGES_SHOWN]
    ]
    more = len(report.languages) - len(shown)
    how = "" if report.languages_of is None else f", detected in {report.languages_of:,} texts"
    return f"languages{how}: {', '.join(shown)}{f', and {more} more' if more > 0 else ''}"


def _show_lengths(console: Console, report: Report) -> None:
    columns = [
        Column("length of a text", flexible=True),
        *(Column(name, "right") for name in ("least", "median", "95 %", "most", "limit", "over")),
    ]
    rows = [[*_length("characters", report.characters), "", ""]]
    for own in report.tokens:
        sample = "" if own.sampled == report.texts else f" (of {own.sampled:,} texts)"
        name = f"tokens of {own.model}{sample}"
        rows.append([*_length(name, own.spread), f"{own.limit:,}", f"{100 * own.over:.1f} %"])
    print_table(console, columns, rows)


def _length(name: str, spread: Spread) -> list[str]:
    return [
        name, f"{spread.least:,}", f"{spread.median:,.0f}", f"{spread.percentile_95:,}",
        f"{spread.most:,}",
    ]  # fmt: skip


def _show_key(console: Console, name: str, key: KeyFacts) -> None:
    kind = "several values a row" if key.multi else "one value a row"
    said = f"{visible(name)}: {plural(len(key.values), 'value')}, {kind}"
    said += f", {key.without:,} without" if key.without else ""
    console.print(Text(said, style=STRONG))
    languages = list(key.by_language)[:_LANGUAGES_SHOWN]
    total = sum(key.values.values())
    columns = [
        Column("value", flexible=True), Column("rows", "right"), Column("share", "right"),
        *(Column(language or "–", "right") for language in languages if len(languages) > 1),
    ]  # fmt: skip
    rows = [
        [
            shorten(value, 60), f"{count:,}", f"{100 * count / total:.1f} %",
            *(
                f"{key.by_language[language].get(value, 0):,}"
                for language in languages if len(languages) > 1
            ),
        ]
        for value, count in list(key.values.items())[:_VALUES_SHOWN]
    ]  # fmt: skip
    print_table(console, columns, rows)
    more = len(key.values) - len(rows)
    if more > 0:
        console.print(Text(f"and {more:,} more", style=QUIET))


def show_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    """Print what is odd about data, what a run does about it, and what could be done."""
    rule(console, "Findings")
    if not findings:
        console.print(Text("Nothing odd was found."))
    for finding in findings:
        style = _STYLES[finding.level]
        console.print(Text(f"{_SIGNS[finding.level]} {visible(finding.what)}", style=style))
        if finding.rows:
            rows = ", ".join(shorten(visible(row), 30) for row in finding.rows)
            more = ", …" if finding.count > len(finding.rows) else ""
            console.print(Text(f"  rows {rows}{more}", style=QUIET))
        for said in (finding.default, finding.proposal):
            if said:
                console.print(Text(f"  {visible(said)}"))


def save_report(path: Path, report: Report) -> None:
    """Write a report as text to a file.

    Raises:
        StudioError: It cannot be written.
    """
    with disk_errors(path, "Saving the report"), replacing(path) as file:
        show_report(
            Console(file=file, width=_SAVED_WIDTH, markup=False, highlight=False, emoji=False),
            report,
        )
