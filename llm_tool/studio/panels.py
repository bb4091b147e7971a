"""What stands before a run and between its jobs: the data, the plan, the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from llm_tool.config import LONG_SHARE, RunConfig, epochs_for
from llm_tool.data.columns import Columns, is_missing, separator
from llm_tool.data.dataset import Dataset
from llm_tool.data.label_keys import split_cell
from llm_tool.data.loaders import Table
from llm_tool.data.schemes import Arranged
from llm_tool.events import LongTexts, RunEstimated, Scores
from llm_tool.execution.resources import share_out
from llm_tool.execution.space import free_space, in_bytes, needed
from llm_tool.logs.summary import duration
from llm_tool.modes.planned import describe
from llm_tool.plan import Plan, distinct_names
from llm_tool.studio.imbalance import imbalance_lines
from llm_tool.studio.theme import QUIET, STRONG, WARN, Column, print_table, rule
from llm_tool.text import plural, shell_word, shorten, visible

_CLASSES_SHOWN = 12
_JOBS_SHOWN = 20
_KEYS_SHOWN = 8
_VALUES_SHOWN = 5
_WHERE = {"local": "on this machine", "slurm": "on a cluster"}


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


def show_labels(console: Console, table: Table, columns: Columns) -> None:
    """Print what the label columns hold: one value a row or several, and the most frequent."""
    for name in columns.labels[:_KEYS_SHOWN]:
        cells = [cell for cell in table.frame[name].tolist() if not is_missing(cell)]
        mark = separator(cells)
        counts = Counter(value for cell in cells for value in split_cell(cell, mark))
        how = {None: "one value a row", "list": "several a row"}.get(mark, f"several, by '{mark}'")
        common = [shorten(visible(value), 30) for value, _ in counts.most_common(_VALUES_SHOWN)]
        more = ", …" if len(counts) > len(common) else ""
        said = f"  {shorten(visible(name), 30)}: {how}: {', '.join(common)}{more}"
        console.print(Text(said), style=QUIET)


def show_scheme(console: Console, arranged: Arranged) -> None:
    """Print how a file writes its labels, with rows as they are and as they will be read."""
    for change in arranged.changes:
        console.print(Text(f"This looks like {change.said}."))
        for before, after in change.examples:
            console.print(Text(f"  {before}"), style=QUIET)
            console.print(Text(f"    → {after}"))
        for note in change.notes:
            console.print(Text(note), style=WARN)


def show_plan(
    console: Console,
    plan: Plan,
    config: RunConfig,
    dataset: Dataset,
    estimate: RunEstimated | None = None,
) -> None:
    """Print what a run will do and take, what is left out, and the command that does the same."""
    rule(console, "Plan")
    show_columns(console, dataset.columns)
    _plan_table(console, plan, config)
    for account in plan.accounts:
        if account.left_out:
            said = describe(account, named=len(plan.accounts) > 1)
            console.print(Text(visible(said)), style=QUIET)
    for note in plan.notes:
        console.print(Text(visible(note)), style=WARN)
    if config.idle:
        alone = config.executor == "local" and config.processes > 1
        where = "by several processes each" if alone else _WHERE[config.executor]
        said = f"Without effect, for jobs are trained {where}: {', '.join(config.idle)}."
        console.print(Text(said), style=WARN)
    decided = share_out(config, plan)
    for line in (*_how(plan, decided), *imbalance_lines(plan, dataset, config)):
        console.print(Text(visible(line)))
    for line in (*_on_cluster(config), *(_takes(estimate, config) if estimate else ())):
        console.print(Text(visible(line)))
    _show_space(console, plan, decided)
    console.print(Text("Same thing without questions:"))
    for line in command_lines(config.command(), console.width - 2):
        console.print(Text(f"  {line}", style=STRONG), soft_wrap=True)
    console.print()


def _plan_table(console: Console, plan: Plan, config: RunConfig) -> None:
    kinds = {job.kind for job in plan.jobs}
    seeds = {job.seed for job in plan.jobs}
    names = distinct_names(job.task for job in plan.jobs)
    columns = [
        Column("category", flexible=True),
        *([Column("kind")] if len(kinds) > 1 else []),
        Column("labels" if kinds == {"multi-label"} else "classes", "right"),
        Column("model", flexible=True),
        Column("scope"),
        *([Column("seed", "right")] if len(seeds) > 1 else []),
        *([Column("fold", "right")] if config.folds else []),
        *([Column("share", "right")] if config.learning_curve else []),
        *(Column(part, "right") for part in ("train", "val", "test")),
        Column("epochs", "right"),
    ]
    rows = [
        [
            names[job.task],
            *([job.kind] if len(kinds) > 1 else []),
            str(len(job.task.classes)),
            job.model_name,
            job.language or "–",
            *([str(job.seed)] if len(seeds) > 1 else []),
            *([str(job.fold)] if config.folds else []),
            *([f"{100 * job.share:.0f} %"] if config.learning_curve else []),
            *(f"{len(rows):,}" for rows in parts.named().values()),
            str(config.epochs or epochs_for(len(parts.train))),
        ]
        for job, parts in zip(plan.jobs, plan.parts, strict=True)
    ]
    print_table(console, columns, rows[:_JOBS_SHOWN])
    if len(rows) > _JOBS_SHOWN:
        console.print(Text(f"and {plural(len(rows) - _JOBS_SHOWN, 'more job')}"), style=QUIET)


def _how(plan: Plan, config: RunConfig) -> Iterator[str]:
    """Yield what the table does not say: how many jobs of what kind, seeds, the extra phase."""
    kinds = Counter(job.kind for job in plan.jobs)
    jobs = " and ".join(plural(count, f"{kind} job") for kind, count in kinds.items())
    trained = sorted({job.seed for job in plan.jobs})
    seeds = f"seed {config.seed}"
    if trained != [config.seed]:
        seeds = f"seed{'s' * (len(trained) > 1)} {', '.join(map(str, trained))}"
        seeds += f", split by seed {config.seed}"
    folds = f", {config.folds} folds" if config.folds else ""
    at_once = ""
    if config.workers and config.workers > 1:
        threads = plural(config.threads or 1, "thread")
        at_once = f", {config.workers} at a time with {threads} each"
    if config.processes > 1:
        nodes = f" on each of {config.slurm_nodes} nodes" if config.slurm_nodes > 1 else ""
        at_once = f", each by {config.processes} processes{nodes} together"
    yield f"{jobs}, {seeds}{folds}{at_once}."
    if config.processes > 1 and config.executor == "local":
        yield "How long it takes with several processes is not known."
    if config.learning_curve:
        yield "Learning curve: only models that learn from all their rows are saved."
    if config.reinforces:
        yield (
            f"Then {plural(config.reinforced_epochs, 'more epoch')} for classes with a validation "
            f"F1 under {config.reinforced_threshold:.2f}: their rows drawn "
            f"{config.reinforced_oversampling:g} times as often, weighing "
            f"{config.reinforced_class_weight:g} times as much."
        )
    if config.long_documents == "exclude":
        yield "Texts longer than the model takes are left out."
    if config.long_documents == "chunk":
        yield "Texts longer than the model takes are read in windows, and scored as a whole."


def _on_cluster(config: RunConfig) -> Iterator[str]:
    """Yield what each job asks of a cluster, where it goes to one."""
    if config.executor == "local":
        return
    asks = [
        f"partition {config.slurm_partition}" if config.slurm_partition else "",
        f"account {config.slurm_account}" if config.slurm_account else "",
        plural(config.slurm_nodes, "node") if config.slurm_nodes > 1 else "",
        plural(config.slurm_cpus, "CPU") if config.slurm_cpus else "",
        plural(config.slurm_gpus, "GPU") if config.slurm_gpus else "",
        f"{config.slurm_memory} of memory" if config.slurm_memory else "",
        f"a time limit of {_limit(config.slurm_time)}" if config.slurm_time else "",
        f"nodes with {config.slurm_constraint}" if config.slurm_constraint else "",
    ]
    asked = ", ".join(filter(None, asks)) or "what the cluster gives"
    most = f", {config.slurm_parallel} at a time at most" if config.slurm_parallel else ""
    yield f"On the SLURM cluster{most}. Each job asks for {asked}."
    yield "How long it takes there is not known."


def _limit(slurm_time: str) -> str:
    """Return a time limit as people say it: ``90`` are minutes."""
    return f"{duration(60 * int(slurm_time))}" if slurm_time.isdecimal() else slurm_time


def _takes(estimate: RunEstimated, config: RunConfig) -> Iterator[str]:
    """Yield what a run was estimated to take, and how many texts are too long for its models."""
    names = {name for name, _ in estimate.unknown}
    if estimate.seconds is not None and estimate.memory_bytes is not None:
        at_most = estimate.seconds_at_most or 0.0
        longer = f", up to {about(at_most)} if classes are weak" if config.reinforces else ""
        early = ", or less if it stops early" if config.patience else ""
        memory = "GPU memory" if estimate.device == "cuda" else "memory"
        yield (
            f"About {about(estimate.seconds)}{longer}{early}, "
            f"{in_bytes(estimate.memory_bytes)} of {memory}, as measured on this machine"
            f"{', without ' + ', '.join(sorted(names)) if names else ''}."
        )
    for name, why in estimate.unknown:
        yield f"How long {name} takes is not known: {why.rstrip('.')}."
    several = len(estimate.long_texts) > 1
    for long in estimate.long_texts:
        if long.texts:
            what = _treated(long, config)
            how_many = f"{'' if long.exact else 'About '}{plural(long.texts, 'text')}"
            verb = "is" if long.texts == 1 else "are"
            yield (
                f"{how_many} ({100 * long.share:.1f} %) longer than {long.max_length:,} tokens "
                f"{verb} {what}{f' for {long.model_name}' if several else ''}."
                f"{_why(long, config)}"
            )


def _treated(long: LongTexts, config: RunConfig) -> str:
    windows = f"read in windows that overlap by {100 * config.window_overlap:.0f} %"
    return {"truncate": "cut", "exclude": "left out", "chunk": windows}[long.treatment]


def _why(long: LongTexts, config: RunConfig) -> str:
    """Return why long texts are treated so, and how else, where that was not asked for."""
    if config.long_documents is not None:
        return ""
    if long.treatment == "chunk":
        share = f"{100 * LONG_SHARE:g} %"
        return f" They are more than {share}: --long-documents truncate would cut them."
    return " --long-documents chunk reads them whole."


def about(seconds: float) -> str:
    """Return an estimated duration as people say it: ``40 s``, ``6 min 10 s``, ``25 min``."""
    step = 1 if seconds < 60 else 10 if seconds < 600 else 60
    return duration(max(10, step * round(seconds / step))).removesuffix(" 0 s")


def _show_space(console: Console, plan: Plan, config: RunConfig) -> None:
    space = needed(plan.jobs, config)
    if not space.models:
        return  # nobody knows how large the models are
    total, free = space.models + space.checkpoints, free_space(config.logs_dir)
    said = (
        f"Disk: up to {in_bytes(total)} while it runs, {in_bytes(space.models)} after it; "
        f"{in_bytes(free)} free."
    )
    console.print(Text(said, style=WARN if total > free else ""))


def command_lines(words: Sequence[str], width: int) -> list[str]:
    """Return a command as lines for a shell, broken before flags and continued by a backslash."""
    pieces: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        quoted = shell_word(word)
        is_value = before.startswith("-") and not word.startswith("-")
        if is_value:  # a flag and its value stay together
            pieces[-1] += f" {quoted}"
        else:
            pieces.append(quoted)
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if piece.startswith("-") and len(lines[-1]) + len(piece) + len("  \\") > width:
            lines[-1] += " \\"
            lines.append(f"  {piece}")
        else:
            lines[-1] += f" {piece}"
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
