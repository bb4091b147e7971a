"""Commands that take data and settings: train, check."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_tool.cli.exits import BAD_INPUT, SOME_FAILED
from llm_tool.cli.flags import (
    Assignments,
    ConfigFile,
    Delimiter,
    DryRun,
    Encoding,
    GroupColumn,
    IdColumn,
    Json,
    KeyColumn,
    Labels,
    LanguageColumn,
    LogsDir,
    LongDocuments,
    MaxLength,
    ModelsDir,
    Scheme,
    Sheet,
    SplitColumn,
    TextColumn,
    ValueColumn,
)
from llm_tool.errors import StudioError
from llm_tool.modes import MODES

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.dataset import Dataset
    from llm_tool.logs.session import Session
    from llm_tool.plan import Plan


def train(
    mode: Annotated[str, typer.Argument(help=f"How to train: {', '.join(MODES)}.")],
    data: Annotated[
        str | None,
        typer.Argument(help="The table, in any usual format; `demo`: the embedded one."),
    ] = None,
    text_column: TextColumn = None,
    label: Labels = None,
    language_column: LanguageColumn = None,
    id_column: IdColumn = None,
    group_column: GroupColumn = None,
    split_column: SplitColumn = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate: train each task so many times.")
    ] = None,
    learning_curve: Annotated[
        bool | None,
        typer.Option(
            "--learning-curve/--no-learning-curve",
            help="Train also on 25, 50 and 75 % of the rows: would more labels pay?",
        ),
    ] = None,
    scheme: Scheme = None,
    key_column: KeyColumn = None,
    value_column: ValueColumn = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    sheet: Sheet = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Hub id, folder or `embedded`; or LANG=MODEL. Repeat for several.",
        ),
    ] = None,
    languages: Annotated[
        str | None, typer.Option(help="One model per-language, or one multilingual.")
    ] = None,
    multi_class: Annotated[
        list[str] | None,
        typer.Option(help="Label column that one model learns whole; repeat for more."),
    ] = None,
    one_vs_all: Annotated[
        list[str] | None,
        typer.Option(help="Label column with a yes-or-no model for each value; repeat for more."),
    ] = None,
    shared_encoder: Annotated[
        bool | None,
        typer.Option(
            "--shared-encoder/--no-shared-encoder",
            help="One network for all yes-or-no labels, in place of one each.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training texts.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts per optimiser step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    max_length: MaxLength = None,
    monitor: Annotated[
        str | None, typer.Option(help="f1_macro, f1_weighted, accuracy or val_loss.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better one.")
    ] = None,
    reinforced: Annotated[
        bool | None,
        typer.Option(
            "--reinforced/--no-reinforced", help="After training, work on the weak classes."
        ),
    ] = None,
    long_documents: LongDocuments = None,
    executor: Annotated[
        str | None, typer.Option(help="Train on this machine (local), or on a cluster (slurm).")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes of a node that train one job together.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Jobs trained at the same time.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of a job.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split and training.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Train once with each of these seeds, as 1,2,3.")
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(help="Also tell tensorboard, mlflow or trackio; repeat for several."),
    ] = None,
    logs_dir: LogsDir = None,
    models_dir: ModelsDir = None,
    session_id: Annotated[str | None, typer.Option(help="Add to this session.")] = None,
    config: ConfigFile = None,
    save_config: Annotated[
        Path | None, typer.Option(help="Write the settings to this YAML file, for --config.")
    ] = None,
    assignments: Assignments = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train without questions. What is not given is guessed or derived, and shown."""
    given = dict(locals())
    from llm_tool.errors import nearest

    if mode not in MODES:
        raise StudioError(f"There is no mode {mode!r}.", remedy=nearest(mode, MODES))
    layers = read_layers(config, assignments)
    asked = _given(given, {"config", "assignments", "save_config", "dry_run", "as_json"})
    layers |= asked
    _refuse_idle(layers, {*asked, *read_layers(None, assignments)})
    run(layers, dry_run, as_json, save_config)


def check(
    data: Annotated[str, typer.Argument(help="The table of texts; `demo`: the embedded one.")],
    text_column: TextColumn = None,
    label: Labels = None,
    language_column: LanguageColumn = None,
    id_column: IdColumn = None,
    group_column: GroupColumn = None,
    split_column: SplitColumn = None,
    scheme: Scheme = None,
    key_column: KeyColumn = None,
    value_column: ValueColumn = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    sheet: Sheet = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Whose tokens texts are counted in; repeat."),
    ] = None,
    max_length: MaxLength = None,
    long_documents: LongDocuments = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    save: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the report to stdout as one JSON object.")
    ] = False,
) -> None:
    """Look at data before training: what is in them, what is odd, what a run does about it."""
    given = dict(locals())
    from llm_tool.config import make_config
    from llm_tool.studio.check import check as look_at
    from llm_tool.studio.check import save_report, show_report
    from llm_tool.studio.theme import make_console

    settings: dict[str, Any] = {"mode": "hybrid"} | read_layers(config, assignments)
    settings |= _given(given, {"config", "assignments", "save", "as_json"})
    report = look_at(make_config(settings), make_console(stderr=True))
    if save is not None:
        save_report(save, report)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report), ensure_ascii=False) + "\n")
    else:
        show_report(make_console(), report)
    if report.refused:
        raise typer.Exit(BAD_INPUT)


def read_layers(config: Path | None, assignments: list[str] | None) -> dict[str, Any]:
    """Return the settings of a file, and those that were assigned one by one."""
    from llm_tool.config_files import parse_assignment, read_config

    layers: dict[str, Any] = read_config(config) if config else {}
    for assignment in assignments or ():
        layers |= parse_assignment(assignment)
    return layers


def _refuse_idle(settings: dict[str, Any], typed: set[str]) -> None:
    """Refuse what was typed and would do nothing; in a file it may be meant for another machine.

    Raises:
        StudioError: A setting of a cluster without one, or of this machine with one, or workers
            where several processes train one job.
    """
    from llm_tool.config import make_config

    for name in make_config(settings).idle:
        if name in typed and name == "workers" and settings.get("executor") != "slurm":
            raise StudioError(
                "--workers is for jobs with one process each.",
                remedy="With --processes above 1, jobs are trained one after the other: leave one "
                "of the two out.",
            )
        if name in typed and name == "workers":
            raise StudioError(
                "--workers is for jobs on this machine.",
                remedy="How many run at the same time on a cluster: --set slurm_parallel=N.",
            )
        if name in typed:
            raise StudioError(
                f"{name} is for jobs on a cluster.", remedy="Add --executor slurm to train on one."
            )


def _given(parameters: dict[str, Any], others: set[str]) -> dict[str, Any]:
    """Return the parameters of a command that were given, without those that are no settings."""
    return {k: v for k, v in parameters.items() if k not in others and v not in (None, [])}


def run(
    settings: dict[str, Any], dry_run: bool, as_json: bool, save_config: Path | None = None
) -> None:
    """Plan, show the plan, and train unless it is a dry run."""
    from llm_tool.config import make_config
    from llm_tool.config_files import write_config
    from llm_tool.logs.session import Session
    from llm_tool.modes.planning import prepare
    from llm_tool.studio.panels import show_plan
    from llm_tool.studio.runs import execute, reading
    from llm_tool.studio.theme import make_console
    from llm_tool.trackers import check_trackers

    talk, out = make_console(stderr=True), make_console()
    config = make_config(settings)
    check_trackers(config.tracker)
    session = Session(config.logs_dir, config.session_id)
    with reading(talk) as on_progress:
        dataset, plan = prepare(config, on_progress)
    if save_config is not None:
        write_config(config, save_config)
    if dry_run:
        _show_dry_run(config, dataset, plan, session, as_json)
        return
    show_plan(talk, plan, config, dataset)
    outcome = execute(plan, dataset, config, session, talk=talk, out=out, as_json=as_json)
    if outcome.failed:
        raise typer.Exit(SOME_FAILED)


def _show_dry_run(
    config: RunConfig, dataset: Dataset, plan: Plan, session: Session, as_json: bool
) -> None:
    """Show what a run would do: its plan, what that takes, and what a cluster would be told."""
    from llm_tool.execution.resources import share_out
    from llm_tool.studio.panels import show_plan
    from llm_tool.studio.runs import measure
    from llm_tool.studio.theme import make_console

    scripts: list[str] = []
    if config.executor == "slurm":
        from llm_tool.execution.slurm import submitit_scripts

        scripts = submitit_scripts(share_out(config, plan), session, len(plan.jobs))
    talk, out = make_console(stderr=True), make_console()
    estimate = measure(plan, dataset, config, talk=talk)
    show_plan(talk if as_json else out, plan, config, dataset, estimate)
    if not as_json:
        sys.stdout.write("".join(f"\n{script}" for script in scripts))
        return
    from llm_tool.events import RunStarted, to_json

    models = str(Path(config.models_dir) / session.id)
    started = RunStarted(session.id, plan.mode, str(session.folder), models, plan.jobs)
    sys.stdout.write(f"{to_json(started)}\n{to_json(estimate)}\n")
    if scripts:
        sys.stdout.write(json.dumps({"event": "scripts", "scripts": scripts}) + "\n")
