"""The epoch table: header once, then one fixed-width row an epoch, for any terminal width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from llm_tool.events import EpochEnded
from llm_tool.plan import MULTILINGUAL, Job
from llm_tool.studio.theme import fit
from llm_tool.text import shorten, visible

BEST = "★ best"


@dataclass(frozen=True)
class EpochColumn:
    """One column. ``group`` stands above ``title`` where two header lines save width."""

    title: str
    width: int
    cell: Callable[[EpochEnded], str]
    group: str = ""
    right: bool = True


class EpochTable:
    """Chooses the columns for a job and a width, and writes header and rows as plain text.

    With one language everything fits in 80 columns under one header line. More languages get a
    column each; if that takes more room than there is, the header becomes two lines, and then
    the least important columns go. Without a job it is a table for jobs that are trained at the
    same time, whose first column says whose epoch it is, with what ``apart`` adds.
    """

    def __init__(self, job: Job | None, width: int, apart: Mapping[str, str] | None = None) -> None:
        languages = job.task.languages if job and job.language == MULTILINGUAL else ()
        layouts = list(_layouts(languages)) if job else list(_joint_layouts(apart or {}))
        self._columns = next((c for c in layouts if _width(c) <= width), layouts[-1])

    def header(self) -> list[str]:
        """Return the header, one or two lines."""
        titles = self._line([c.title for c in self._columns])
        if not any(c.group for c in self._columns):
            return [titles]
        seen: set[str] = set()
        groups = []
        for column in self._columns:
            groups.append("" if column.group in seen else column.group)
            seen.add(column.group)
        return [self._line(groups), titles]

    def row(self, event: EpochEnded) -> str:
        """Return the row of an epoch."""
        return self._line([column.cell(event) for column in self._columns])

    def _line(self, cells: Sequence[str]) -> str:
        padded = (
            fit(cell, column.width, right=column.right)
            for cell, column in zip(cells, self._columns, strict=True)
        )
        return "  ".join(padded).rstrip()


def _width(columns: Sequence[EpochColumn]) -> int:
    return sum(c.width for c in columns) + 2 * (len(columns) - 1)


def _layouts(languages: Sequence[str]) -> Iterator[list[EpochColumn]]:
    """Yield the choices of columns, the widest first."""

    def without(columns: Sequence[EpochColumn], *titles: str) -> list[EpochColumn]:
        return [c for c in columns if c.title not in titles]

    full = _full(languages)
    yield full
    yield without(full, "learning rate")
    yield without(full, "learning rate", "tok/s")
    if languages:
        yield _compact(languages)
        for shown in range(len(languages), -1, -1):
            yield without(_compact(languages[:shown]), "time")
    short = without(_full(()), "learning rate", "tok/s", "time")
    yield short
    yield without(short, "train loss")
    yield without(short, "train loss", "accuracy")
    yield without(short, "train loss", "accuracy", "weakest class")


def _joint_layouts(apart: Mapping[str, str]) -> Iterator[list[EpochColumn]]:
    """Yield the choices of columns for rows of several jobs, the widest first."""
    every = list(_layouts(()))
    for width, number in ((48, 0), (36, 2), (28, -3), (20, -2), (14, -1), (5, -1)):
        columns = every[number]
        title = partial(_title, apart=apart, width=width)
        yield [EpochColumn("job", width, title, right=False), *columns]


def _title(event: EpochEnded, apart: Mapping[str, str], width: int) -> str:
    title = event.job.title + apart.get(event.job.id, "")
    return shorten(visible(title.replace(" · ", " ")), width)


def _full(languages: Sequence[str]) -> list[EpochColumn]:
    return [
        EpochColumn("epoch", 5, lambda e: str(e.epoch)),
        EpochColumn("train loss", 10, lambda e: f"{e.train_loss:.4f}"),
        EpochColumn("val loss", 8, lambda e: f"{e.val_loss:.4f}"),
        EpochColumn("accuracy", 8, lambda e: f"{e.scores.accuracy:.3f}"),
        EpochColumn("macro F1", 8, lambda e: f"{e.scores.f1_macro:.3f}"),
        *(_language(name, f"{visible(name)} F1") for name in languages),
        EpochColumn("weakest class", 15, lambda e: _weakest(e, 15), right=False),
        EpochColumn("tok/s", 6, lambda e: f"{e.tokens_per_second:,.0f}"),
        EpochColumn("learning rate", 13, lambda e: f"{e.learning_rate:.1e}"),
        EpochColumn("time", 6, lambda e: short_duration(e.seconds)),
        EpochColumn("", 6, lambda e: BEST if e.is_best else "", right=False),
    ]


def _compact(languages: Sequence[str]) -> list[EpochColumn]:
    return [
        EpochColumn("epoch", 5, lambda e: str(e.epoch)),
        EpochColumn("train", 6, lambda e: f"{e.train_loss:.4f}", group="loss"),
        EpochColumn("val", 6, lambda e: f"{e.val_loss:.4f}", group="loss"),
        EpochColumn("acc.", 5, lambda e: f"{e.scores.accuracy:.3f}"),
        EpochColumn("all", 5, lambda e: f"{e.scores.f1_macro:.3f}", group="F1"),
        *(_language(name, visible(name), "F1") for name in languages),
        EpochColumn("weakest class", 13, lambda e: _weakest(e, 13), right=False),
        EpochColumn("time", 6, lambda e: short_duration(e.seconds)),
        EpochColumn("", 6, lambda e: BEST if e.is_best else "", right=False),
    ]


def _language(language: str, title: str, group: str = "") -> EpochColumn:
    def cell(event: EpochEnded) -> str:
        score = next((s for s in event.scores.languages if s.language == language), None)
        return "–" if score is None or score.f1_macro is None else f"{score.f1_macro:.3f}"

    return EpochColumn(title, max(5, len(title)), cell, group)


def _weakest(event: EpochEnded, width: int) -> str:
    weakest = event.scores.weakest
    if weakest is None:
        return "–"
    return f"{shorten(visible(weakest.name), width - 5)} {weakest.f1:.2f}"


def short_duration(seconds: float) -> str:
    """Return a duration in at most six characters: ``4.1 s``, ``41 s``, ``6m 12s``, ``2h 05m``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"
