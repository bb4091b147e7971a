"""One session, shown: what was configured, the models of each category, how one of them did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError, nearest
from llm_tool.events import EpochEnded, Scores
from llm_tool.logs.archive import Archive, Training
from llm_tool.logs.session import Session
from llm_tool.logs.summary import duration, long_texts, reason, test_score
from llm_tool.studio.curves import MARKS, Curve, Figure, draw
from llm_tool.studio.learning_curve import show_curves_of
from llm_tool.studio.score_tables import show_classes, show_confusion, show_languages
from llm_tool.studio.theme import BAD, GOOD, QUIET, WARN, Column, print_table, rule
from llm_tool.text import shorten, visible


def show_session(
    console: Console,
    archive: Archive,
    notes: Sequence[str] = (),
    *,
    category: str | None = None,
    job: str | None = None,
) -> None:
    """Print a session: as a whole, one category of it, or one training.

    Args:
        console: Where to print.
        archive: The session.
        notes: What of it is missing.
        category: The category's folder or name; by default every one.
        job: The training's job; in every category that it has, or in ``category``.

    Raises:
        StudioError: There is no such category or job.
    """
    chosen = select(archive, category, job)
    if category is None and job is None:
        show_configured(console, archive)
    for note in notes:
        console.print(Text(f"! {visible(note)}", style=WARN))
    for name, trainings in chosen.items():
        if job is None:
            show_category(console, name, trainings)
        best = trainings[0] if job else best_of(trainings)
        if best is not None:
            show_training(console, best)


def select(archive: Archive, category: str | None, job: str | None) -> dict[str, list[Training]]:
    """Return the trainings of each category, of one category, or of one job.

    Raises:
        StudioError: There is no such category or job.
    """
    chosen = {name: own for name, own in archive.by_category().items() if _is(own, name, category)}
    if not chosen and category is not None:
        raise StudioError(
            f"Session {archive.id} has no category '{visible(category)}'.",
            remedy=nearest(category, archive.by_category()),
        )
    if job is None:
        return chosen
    only = {name: [one for one in own if one.job.id == job] for name, own in chosen.items()}
    only = {name: own for name, own in only.items() if own}
    if not only:
        known = dict.fromkeys(one.job.id for own in chosen.values() for one in own)
        raise StudioError(
            f"Session {archive.id} has no job '{visible(job)}' there.", remedy=nearest(job, known)
        )
    return only


def _is(trainings: Sequence[Training], name: str, category: str | None) -> bool:
    return category in (None, name, trainings[0].job.task.category)


def best_of(trainings: Iterable[Training]) -> Training | None:
    """Return the training that is done with the highest validation macro F1, the first of equals.

    Where none is done, the first that has an epoch. It learned, or is to learn, from all rows.
    """
    whole = [one for one in trainings if not one.job.is_partial]
    done = [one for one in whole if one.ended]
    if done:
        return max(done, key=_validation)
    return next((one for one in whole if one.epochs), None)


def _validation(training: Training) -> float:
    return training.ended.best.scores.f1_macro if training.ended else -1.0


def show_configured(console: Console, archive: Archive) -> None:
    """Print how a session stands, on what it ran, and what was set for each of its runs."""
    rule(console, f"Session {archive.id}")
    facts = archive.facts
    jobs = {training.job.id for training in archive.trainings}
    undone = {training.job.id for training in archive.trainings if training.ended is None}
    console.print(Text(f"{archive.status}, {len(jobs - undone)} of {len(jobs)} jobs done"))
    if archive.status in ("detached", "interrupted", "failed"):
        command = visible(Session(archive.folder.parent, archive.id).resume_command)
        what = "follow" if archive.status == "detached" else "go on"
        console.print(Text.assemble((f"{what:10}", QUIET), command), soft_wrap=True)
    _line(console, "started", when(facts.get("started")))
    _line(console, "ended", when(facts.get("ended")))
    _line(console, "host", str(facts.get("host", "")))
    versions = facts.get("versions") or {}
    _line(console, "versions", ", ".join(f"{name} {each}" for name, each in versions.items()))
    git = facts.get("git") or {}
    if git:
        _line(console, "git", f"{git.get('commit')}{'' if git.get('clean') else ', changed'}")
    runs = facts.get("runs", ())
    for number, run in enumerate(runs, start=1):
        if len(runs) > 1:
            console.print(Text(f"run {number} of {len(runs)}: {run.get('status')}", style=QUIET))
        data = run.get("dataset", {})
        _line(console, "data", str(data.get("name", "")))
        _line(console, "sha256", str(data.get("sha256", "")))
        _line(console, "settings", "  ".join(map("=".join, configured(run).items())))


def configured(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a run that are not the defaults, also those of other versions."""
    from llm_tool.config import RunConfig

    def is_default(name: str, value: object) -> bool:
        field = RunConfig.model_fields.get(name)
        default = field.get_default() if field else None
        return name != "mode" and value == (list(default) if type(default) is tuple else default)

    config = run.get("config", {})
    chosen = {name: value for name, value in config.items() if not is_default(name, value)}
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in chosen.items()
        if name not in ("data", "session_id")  # they stand above
    }


def _line(console: Console, name: str, said: str) -> None:
    """Print a fact with its name; a long one goes on under its own beginning."""
    if said:
        text = Text(visible(said))
        lines = text.wrap(console, max(20, console.width - 10))
        for number, line in enumerate(lines):
            title = Text(f"{name if number == 0 else '':10}", style=QUIET)
            line.rstrip()
            console.print(Text.assemble(title, line), no_wrap=True, crop=True)


def when(stamp: object) -> str:
    """Return a timestamp of ours as people write it: ``2026-11-22 14:05:01``."""
    text = str(stamp or "")
    if len(text) != 15:
        return text
    date, time = text[:8], text[9:]
    return f"{date[:4]}-{date[4:6]}-{date[6:]} {time[:2]}:{time[2:4]}:{time[4:]}"


def show_category(console: Console, name: str, trainings: Sequence[Training]) -> None:
    """Print the models of a category and their curves, one over the other."""
    rule(console, name)
    whole = [one for one in trainings if not one.job.is_partial]
    started = next((one.started for one in whole if one.started), None)
    if started is not None:
        count = len(trainings[0].job.task.classes)
        rows = (
            f"{started.train_rows:,} train, {started.validation_rows:,} validation, "
            f"{started.test_rows:,} test rows"
        )
        classes = f"{count} {'class' if count == 1 else 'classes'}"
        console.print(Text(f"{classes}; {rows}; {long_texts(started)}"))
    _models_table(console, trainings)
    with_epochs = sorted((one for one in whole if one.epochs), key=_validation, reverse=True)
    if len(with_epochs) > 1:
        _overlay(console, with_epochs)
    show_curves_of(console, trainings)


def _models_table(console: Console, trainings: Sequence[Training]) -> None:
    best = best_of(trainings)
    seeds = len({one.job.seed for one in trainings}) > 1
    folds = any(one.job.fold for one in trainings)
    shares = any(one.job.is_partial for one in trainings)
    columns = [
        Column("job"),
        Column("model", flexible=True),
        Column("scope"),
        *([Column("seed", "right")] if seeds else []),
        *([Column("fold", "right")] if folds else []),
        *([Column("share", "right")] if shares else []),
        Column("best epoch", "right", spare=1),
        Column("val", "right"),
        Column("test macro F1 [95 %]"),
    ]
    rows = []
    for one in trainings:
        job, top = one.job, _best_epoch(one)
        rows.append(
            [
                job.id + (" ★" if one is best and one.ended else ""),
                job.model_name,
                job.language or "–",
                *([str(job.seed)] if seeds else []),
                *([str(job.fold or "–")] if folds else []),
                *([f"{100 * job.share:.0f} %"] if shares else []),
                str(top.epoch) if top else "–",
                f"{top.scores.f1_macro:.3f}" if top else "–",
                test_score(one.ended) if one.ended else _without_result(one),
            ]
        )
    marks = [GOOD if one is best and one.ended else BAD if one.failed else "" for one in trainings]
    print_table(console, columns, rows, marks)
    for one in trainings:
        if one.failed and not one.ended:
            said = f"  ✗ {one.job.id}: {reason(one.failed)} {one.failed.where}".rstrip()
            console.print(Text(visible(said), style=BAD), soft_wrap=True)


def _without_result(training: Training) -> str:
    if training.failed:
        return "failed"
    return "no result" if training.started else "not begun"


def _best_epoch(training: Training) -> EpochEnded | None:
    if training.ended:
        return training.ended.best
    return next((one for one in reversed(training.epochs) if one.is_best), None)


def _overlay(console: Console, trainings: Sequence[Training]) -> None:
    """Print the validation curves of several trainings, the best ones where there are many."""
    shown = list(zip(MARKS, trainings, strict=False))
    best_last = shown[::-1]  # it is drawn over the others
    losses = [_curve(mark, one.epochs, "val_loss") for mark, one in best_last]
    scores = [_curve(mark, one.epochs, "f1_macro") for mark, one in best_last]
    figures = [
        Figure("validation loss", losses),
        Figure("validation macro F1", scores, share=True),
    ]
    _show(console, figures)
    for mark, one in shown:
        job = one.job
        fold = f"fold {job.fold}" if job.fold else ""
        name = " · ".join(filter(None, (job.id, job.model_name, job.language, fold)))
        said = f"  {mark} {visible(name)} · seed {job.seed}"
        console.print(Text(shorten(said, console.width)))
    if len(trainings) > len(shown):
        left = len(trainings) - len(shown)
        console.print(Text(f"  and {left} more with lower scores, not drawn"), style=QUIET)
    console.print(Text("  Where marks meet, the one further up in this list is seen."), style=QUIET)


def show_training(console: Console, training: Training) -> None:
    """Print the curves of one training, its scores by class and language, and its confusions."""
    rule(console, f"{training.job.id} · {training.job.title} · seed {training.job.seed}")
    if not training.epochs:
        console.print(Text(f"No epoch is recorded: {_without_result(training)}."))
        return
    _own_curves(console, training)
    scores, part = _scores(training)
    if scores is None:
        return
    show_classes(console, scores.classes, part)
    show_languages(console, scores.languages, part)
    if training.ended is not None:
        show_confusion(console, training, part)


def _scores(training: Training) -> tuple[Scores | None, str]:
    """Return the scores to show and the part of the data that they are of."""
    if training.ended and training.ended.test:
        return training.ended.test, "test"
    best = _best_epoch(training)
    return (best.scores if best else None), "validation"


def _curve(mark: str, epochs: Sequence[EpochEnded], what: str) -> Curve:
    values = [e.scores.f1_macro if what == "f1_macro" else getattr(e, what) for e in epochs]
    return Curve(mark, [epoch.epoch for epoch in epochs], values)


def _own_curves(console: Console, training: Training) -> None:
    train, val = (
        _curve(mark, training.epochs, what)
        for mark, what in ((MARKS[0], "train_loss"), (MARKS[1], "val_loss"))
    )
    score = _curve(MARKS[1], training.epochs, "f1_macro")
    _show(console, [Figure("loss", [train, val]), Figure("macro F1", [score], share=True)])
    said = f"  {MARKS[0]} train   {MARKS[1]} validation, seen where both meet"
    console.print(Text(said))
    for name, curve in (("train", train), ("validation", val)):
        if curve.undefined:
            epochs = ", ".join(map(str, curve.undefined))
            console.print(Text(f"  no {name} loss in epoch {epochs}: no finite number", style=WARN))
    best = _best_epoch(training)
    if best is not None:
        said = f"  ★ best epoch {best.epoch}: validation macro F1 {best.scores.f1_macro:.3f}"
        ended = training.ended
        if ended is not None:
            said += f"; test {test_score(ended)}" if ended.test else "; no test rows"
            said += f"; {duration(ended.seconds)}"
        console.print(Text(said))
    again = [epoch.epoch for epoch in training.epochs if epoch.training_phase == "reinforced"]
    if again:
        console.print(Text(f"  reinforced phase from epoch {again[0]}"), style=QUIET)


def _show(console: Console, figures: Sequence[Figure]) -> None:
    for line in draw(figures, console.width):
        console.print(Text(line), no_wrap=True, crop=True)
