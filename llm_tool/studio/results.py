"""What stands after a run: the result of each job, and of a benchmark the ranking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llm_tool.analysis.ranking import Ranking, Standing, over_folds, rank
from llm_tool.events import JobEnded, JobFailed, RunEnded, RunStarted
from llm_tool.logs.session import command_line
from llm_tool.logs.summary import duration, left_running, reason, test_score
from llm_tool.plan import distinct_names, told_apart
from llm_tool.studio.epochs import short_duration
from llm_tool.studio.learning_curve import show_run_curves
from llm_tool.studio.theme import BAD, GOOD, QUIET, STRONG, WARN, Column, print_table, rule
from llm_tool.text import shell_word, visible


def show_result(
    console: Console,
    run: RunStarted,
    done: Sequence[JobEnded],
    failed: Sequence[JobFailed],
    ended: RunEnded,
) -> None:
    """Print what came out of a run, what did not and why, where it is, and how to go on."""
    if done and run.mode == "benchmark":
        for ranking in rank(done):
            show_ranking(console, ranking)
    show_run_curves(console, run)
    rule(console, "Result")
    whole = [result for result in done if not result.job.is_partial]
    if any(result.job.fold for result in whole):
        _fold_table(console, whole)
    elif whole:
        _result_table(console, whole)
    mark, style = {"done": ("✓", GOOD), "failed": ("✗", BAD)}.get(ended.status, ("■", WARN))
    status = "" if ended.status == "done" else f", {ended.status}"
    said = f"{mark} {ended.done} of {ended.jobs} jobs done in {duration(ended.seconds)}{status}"
    console.print(Text(said, style=style))
    apart = told_apart(run.jobs)
    for failure in failed:
        why = " ".join(filter(None, (reason(failure), failure.where)))
        title = failure.job.title + apart.get(failure.job.id, "")
        console.print(Text(f"  ✗ {visible(failure.job.id)} {visible(title)}: "), end="")
        console.print(Text(visible(why), style=BAD), soft_wrap=True)
    logs = f"  logs    {visible(run.logs_folder)}/(category)/training.csv, best.csv"
    console.print(Text(logs), soft_wrap=True)
    if done:
        models = f"  models  {visible(run.models_folder)}/(category)/(model)/"
        console.print(Text(models), soft_wrap=True)
    for name, command in _next(run, whole, console.width):
        console.print(Text(f"  {name:7} {visible(command)}"), soft_wrap=True)
    if ended.status == "detached":
        console.print(Text(left_running(ended), style=STRONG), soft_wrap=True)
    elif ended.resume:
        what = "retry" if ended.status == "failed" else "go on"
        console.print(Text(f"  {what:6}  {visible(ended.resume)}", style=STRONG), soft_wrap=True)


def _next(run: RunStarted, whole: Sequence[JobEnded], width: int) -> Iterator[tuple[str, str]]:
    """Yield what there is to do with the models of a run, and the commands for it.

    Args:
        run: The run.
        whole: The results of what learned from all rows.
        width: Of the terminal.
    """
    if not whole:
        return
    line = partial(command_line, logs_dir=Path(run.logs_folder).parent)
    commands = [line("report", run.session_id)]
    if sum(result.test is not None for result in whole) > 1:
        commands.insert(0, line("compare", run.session_id))
    both = " · ".join(commands)
    for place, one in enumerate([both] if cell_len(both) + 10 <= width else commands):
        yield "next" if place == 0 else "", one
    if any(result.job.fold for result in whole):
        yield "recode", line("label-errors", run.session_id, "--out", "label-errors.csv")
    saved = [result for result in whole if result.saved_model_path]
    if saved:
        best = max(saved, key=lambda result: result.best.scores.f1_macro)
        words = ["llm-tool", "predict", best.saved_model_path, "TABLE", "-o", "labelled.csv"]
        yield "predict", " ".join(map(shell_word, words))


def _result_table(console: Console, done: Sequence[JobEnded]) -> None:
    seeds = len({result.job.seed for result in done}) > 1
    columns = [
        Column("category", flexible=True),
        Column("model", flexible=True),
        Column("scope"),
        *([Column("seed", "right")] if seeds else []),
        Column("epoch", "right", spare=2),
        Column("val macro F1", "right", spare=1),
        Column("test macro F1 [95 %]", "right"),
    ]
    rows = [
        [
            category,
            result.job.model_name,
            result.job.language or "–",
            *([str(result.job.seed)] if seeds else []),
            str(result.best.epoch),
            f"{result.best.scores.f1_macro:.3f}",
            test_score(result),
        ]
        for category, result in _by_category(done)
    ]
    print_table(console, columns, rows)


def _fold_table(console: Console, done: Sequence[JobEnded]) -> None:
    """Print the means over the folds; what each fold gave is in best.csv."""
    groups: dict[tuple[str, str, str, str, int], list[JobEnded]] = defaultdict(list)
    for category, own in _by_category(done):
        job = own.job
        groups[category, job.model, job.model_name, job.language, job.seed].append(own)
    seeds = len({result.job.seed for result in done}) > 1
    columns = [
        Column("category", flexible=True),
        Column("model", flexible=True),
        Column("scope"),
        *([Column("seed", "right")] if seeds else []),
        Column("folds", "right"),
        Column("val macro F1 ±", "right"),
        Column("test macro F1 ±", "right"),
    ]
    rows = []
    for (category, _, model_name, language, seed), results in groups.items():
        mean = over_folds(results)
        row = [category, model_name, language or "–", *([str(seed)] if seeds else [])]
        row += [str(mean.folds), _mean(mean.val, mean.val_spread)]
        rows.append([*row, _mean(mean.test, mean.test_spread)])
    print_table(console, columns, rows)
    console.print(Text("Means over the folds, ± their standard deviation."), style=QUIET)


def _by_category(done: Sequence[JobEnded]) -> Iterator[tuple[str, JobEnded]]:
    """Yield every category's result; those of a shared encoder's labels, then their mean."""
    names = distinct_names(task for result in done for task in result.job.tasks)
    for result in done:
        for own in result.labels or (result,):
            yield names[own.job.task], own
        if result.labels:
            yield f"mean of {len(result.labels)} labels", result


def show_ranking(console: Console, ranking: Ranking) -> None:
    """Print the models of a contest, the best first."""
    what = ranking.category or "all categories"
    rule(console, " · ".join(filter(None, ("Ranking", what, ranking.language))))
    spread = any(standing.val_spread is not None for standing in ranking.standings)
    columns = [
        Column("", "right"),
        Column("model", flexible=True),
        Column("val F1 ±" if spread else "val F1", "right"),
        Column("test F1 ±" if spread else "test F1", "right"),
        Column("time", "right"),
        Column("params", "right"),
        Column("tok/s", "right"),
    ]
    rows = [
        [
            f"{place}.",
            standing.model_name + ("" if standing.complete else " (incomplete)"),
            _mean(standing.val, standing.val_spread),
            _mean(standing.test, standing.test_spread),
            short_duration(standing.seconds),
            f"{standing.parameters / 1e6:.1f} M",
            f"{standing.tokens_per_second:,.0f}",
        ]
        for place, standing in enumerate(ranking.standings, start=1)
    ]
    print_table(console, columns, rows, [GOOD] + [""] * (len(rows) - 1))
    console.print(Text(_reading(ranking.standings)), style=QUIET)
    console.print()


def _mean(value: float | None, spread: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _reading(standings: Sequence[Standing]) -> str:
    """Return how to read the table: what chose, what did not, how much it rests on."""
    each = {standing.trainings for standing in standings}
    trainings = f"{max(each)} training{'s' if max(each) > 1 else ''} a model"
    rests = f"Means of {trainings}" if max(each) > 1 else trainings
    folds = any(standing.folds for standing in standings)
    seeds = any(standing.seeds > 1 for standing in standings)
    over = " and ".join(["seeds"] * (seeds or not folds) + ["folds"] * folds)
    spread = f"; ± standard deviation over {over}" if standings[0].val_spread is not None else ""
    return f"By macro F1 on validation; test is the estimate and does not choose. {rests}{spread}."
