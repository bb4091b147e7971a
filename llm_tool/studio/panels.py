"""What stands before and after a run: the data, the plan, the result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from llm_tool.config import RunConfig, epochs_for
from llm_tool.data.columns import Columns
from llm_tool.data.dataset import Dataset
from llm_tool.data.loaders import Table
from llm_tool.events import JobEnded, RunEnded, RunStarted, Scores
from llm_tool.logs.summary import duration
from llm_tool.plan import Plan, Task
from llm_tool.studio.theme import BAD, GOOD, QUIET, STRONG, WARN, Column, print_table, rule
from llm_tool.text import shorten, visible

_CLASSES_SHOWN = 12


def show_table(console: Console, table: Table, rows: int = 4) -> None:
    """Print how a file was read, and its first rows."""
    frame = table.frame
    said = f"{len(frame):,} rows, {len(frame.columns)} columns ({table.how})"
    console.print(Text(f"{visible(table.path)}: {said}"))
    columns = [Column(visible(str(name)), flexible=True) for name in frame.columns]
    while len(columns) > 1 and 10 * len(columns) > console.width:
        columns.pop()
    names = list(frame.columns[: len(columns)])
    cells = frame[names].head(rows).to_numpy().tolist()
    shown = [[shorten(visible(_cell(cell)), 60) for cell in row] for row in cells]
    print_table(console, columns, shown)
    hidden = [visible(str(name)) for name in frame.columns[len(columns) :]]
    if hidden:
        console.print(Text(f"and {', '.join(hidden)}"), style=QUIET)


def _cell(cell: object) -> str:
    return "; ".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def show_columns(console: Console, columns: Columns) -> None:
    """Print which column plays which role."""
    roles = {
        "text": columns.text,
        "labels": ", ".join(columns.labels),
        "language": columns.language,
        "id": columns.id,
        "group": columns.group,
        "split": columns.split,
    }
    said = "   ".join(f"{role}: {visible(name)}" for role, name in roles.items() if name)
    console.print(Text(said), style=QUIET)


def show_plan(console: Console, plan: Plan, config: RunConfig, dataset: Dataset) -> None:
    """Print what a run will do, what is left out, and the command that does the same."""
    rule(console, "Plan")
    show_columns(console, dataset.columns)
    kinds = sorted({job.task.kind for job in plan.jobs})
    columns = [
        Column("category", flexible=True),
        *([Column("kind")] if len(kinds) > 1 else []),
        Column("classes", "right"),
        Column("model", flexible=True),
        Column("scope"),
        *(Column(part, "right") for part in ("train", "val", "test")),
        Column("epochs", "right"),
    ]
    rows = [
        [
            job.task.category,
            *([job.task.kind] if len(kinds) > 1 else []),
            str(len(job.task.classes)),
            job.model_name,
            job.language or "–",
            *(f"{len(rows):,}" for rows in parts.named().values()),
            str(config.epochs or epochs_for(len(parts.train))),
        ]
        for job, parts in zip(plan.jobs, plan.parts, strict=True)
    ]
    print_table(console, columns, rows)
    for note in plan.notes:
        console.print(Text(visible(note)), style=WARN)
    jobs = f"{len(plan.jobs)} {' and '.join(kinds)} job{'s' if len(plan.jobs) > 1 else ''}"
    console.print(Text(f"{jobs}, seed {config.seed}. Same thing without questions:"))
    for line in command_lines(config.command(), console.width - 2):
        console.print(Text(f"  {line}", style=STRONG), soft_wrap=True)
    console.print()


def command_lines(words: Sequence[str], width: int) -> list[str]:
    """Return a command as lines for a shell, broken before flags and continued by a backslash."""
    lines = [shlex.quote(words[0])]
    for word in words[1:]:
        quoted = shlex.quote(word)
        value_and_backslash = 16  # a flag should not stand at the end of a line
        if word.startswith("-") and len(lines[-1]) + len(quoted) + value_and_backslash > width:
            lines[-1] += " \\"
            lines.append(f"  {quoted}")
        else:
            lines[-1] += f" {quoted}"
    return lines


def show_classes(console: Console, scores: Scores, part: str) -> None:
    """Print precision, recall and F1 of each class, the weakest first."""
    weakest_first = sorted(scores.classes, key=lambda c: (c.f1 is None, c.f1))
    shown = weakest_first[:_CLASSES_SHOWN]
    columns = [
        Column(f"class ({part})", flexible=True),
        *(Column(title, "right") for title in ("precision", "recall", "F1", "rows")),
    ]
    rows = [
        [c.name, *(_number(v) for v in (c.precision, c.recall, c.f1)), f"{c.support:,}"]
        for c in shown
    ]
    print_table(console, columns, rows)
    if len(shown) < len(weakest_first):
        more = len(weakest_first) - len(shown)
        console.print(Text(f"and {more} stronger classes, all in best.csv"), style=QUIET)
    console.print()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def show_result(
    console: Console, run: RunStarted, done: Sequence[JobEnded], ended: RunEnded
) -> None:
    """Print what came out of a run, the best of rival models marked, and where it is."""
    rule(console, "Result")
    best: dict[tuple[Task, str], JobEnded] = {}
    for result in done:  # models of different languages are not scored on the same rows
        contest = (result.job.task, result.job.language)
        champion = best.setdefault(contest, result)
        if result.best.scores.f1_macro > champion.best.scores.f1_macro:
            best[contest] = result
    if done:
        _result_table(console, done, list(best.values()))
    jobs = len(run.jobs)
    mark, style = {"done": ("✓", GOOD), "failed": ("✗", BAD)}.get(ended.status, ("■", WARN))
    status = "" if ended.status == "done" else f", {ended.status}"
    said = f"{mark} {ended.done} of {jobs} jobs done in {duration(ended.seconds)}{status}"
    console.print(Text(said, style=style))
    console.print(
        Text(f"  logs    {visible(run.logs_folder)}/(category)/training.csv, best.csv"),
        soft_wrap=True,
    )
    if done:
        console.print(
            Text(f"  models  {visible(run.models_folder)}/(category)/(model)/"), soft_wrap=True
        )


def _result_table(console: Console, done: Sequence[JobEnded], best: Sequence[JobEnded]) -> None:
    columns = [
        Column("category", flexible=True),
        Column("model", flexible=True),
        Column("scope"),
        Column("epoch", "right"),
        Column("val macro F1", "right"),
        Column("test macro F1 [95 %]", "right"),
        Column(""),
    ]
    several = len(best) < len(done)
    rows = [
        [
            result.job.task.category,
            result.job.model_name,
            result.job.language or "–",
            str(result.best.epoch),
            f"{result.best.scores.f1_macro:.3f}",
            _interval(result),
            "★" if several and result in best else "",
        ]
        for result in done
    ]
    print_table(console, columns, rows)


def _interval(result: JobEnded) -> str:
    if result.test is None or result.f1_macro_low is None or result.f1_macro_high is None:
        return "no test rows"
    low, high = result.f1_macro_low, result.f1_macro_high
    return f"{result.test.f1_macro:.3f} [{low:.2f}, {high:.2f}]"
