"""What about the data can spoil or flatter a result, found before an hour is spent on it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

from llm_tool.text import plural, shorten, visible

if TYPE_CHECKING:
    from llm_tool.data.dataset import Dataset, LabelKey

Level = Literal["error", "warning", "note"]
_ROWS_NAMED = 5
_NAMED = 5  # values that a sentence names
_FEW = 30  # rows of a class below which its score says little: its 95 % interval is 0.3 wide
_UNEQUAL = 10  # times as many rows of one class as of another
_TELLS = 0.99  # share of rows for which a column says the label
_SHORT = 3  # characters of a text, or of a label, that hardly say anything
_SAMPLE = 5_000  # values of a column beyond which it names rows, not kinds of them
# UTF-8 that was read as Windows-1252 somewhere on its way: é, ’ and their like.
_GARBLED = re.compile("Ã[\u0080-\u00bf¡-¿ƒ‚„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[™œ\u009d“”¦¢]|�")
_MARKUP = re.compile(r"</?(?:p|br|div|span|a|b|i|em|strong|li|ul|h[1-6])\b[^>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """Something about the data that a user should know, and what becomes of it.

    ``level`` is ``error`` where a run would be refused. ``default`` is what a run does about it
    unless it is told otherwise, ``proposal`` what to do instead. ``rows`` name the first of
    ``count`` rows as the user knows them: by id, or by number in the file.
    """

    kind: str
    level: Level
    what: str
    default: str
    proposal: str = ""
    key: str = ""
    count: int = 0
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spread:
    """How a number is spread over texts: its smallest, middle, 95th percentile and largest."""

    least: int
    median: float
    percentile_95: int
    most: int


@dataclass(frozen=True)
class TokenFacts:
    """How long texts are in a model's tokens, special tokens included.

    ``sampled`` texts were tokenised; ``over`` is the share of them longer than ``limit``.
    """

    model: str
    limit: int
    sampled: int
    spread: Spread
    over: float


def spread(values: Iterable[int]) -> Spread:
    """Return how numbers are spread; there must be one."""
    ordered = sorted(values)
    return Spread(
        least=ordered[0],
        median=median(ordered),
        percentile_95=ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))],
        most=ordered[-1],
    )


def check_texts(dataset: Dataset) -> Iterator[Finding]:
    """Yield what is odd about texts: garbled characters, markup, hardly any words."""
    for kind, is_odd, how, proposal in _ODD:
        odd = [row for row, text in enumerate(dataset.texts) if is_odd(text)]
        if odd:
            yield _finding(
                kind, "warning", f"{plural(len(odd), 'text')} {how}.", dataset, odd,
                default="They are trained and tested as they are.", proposal=proposal,
            )  # fmt: skip


def _is_short(text: str) -> bool:
    return len(text) < _SHORT


# What texts can be odd in: its name, whether a text is, how that reads, what to do about it.
_ODD: tuple[tuple[str, Callable[[str], object], str, str], ...] = (
    ("garbled", _GARBLED.search, "with garbled characters, as of a wrong encoding (Ã©, â€™, �)",
     "Name the file's encoding with --encoding, or mend it where it comes from."),
    ("markup", _MARKUP.search, "with HTML tags", "Take the tags out if they say nothing."),
    ("short", _is_short, f"with fewer than {_SHORT} characters", "Look at them; drop the noise."),
)  # fmt: skip


def check_duplicates(dataset: Dataset, groups: Sequence[Sequence[int]]) -> Iterator[Finding]:
    """Yield how many texts occur more than once, and which of them have different labels.

    Args:
        dataset: The rows.
        groups: Rows with the same text, those with more than one.
    """
    extra = [row for own in groups for row in own[1:]]
    if extra:
        stay = dataset.columns.split is None
        yield _finding(
            "exact_duplicates", "warning",
            f"{plural(len(extra), 'row')} with the same text as another one "
            f"({plural(len(groups), 'text')} more than once).", dataset, extra,
            default="Rows with the same text stay in one part, so that none is trained and tested."
            if stay else "Rows whose text is also in a later part are left out of the earlier one.",
            proposal="Drop them if they are there by mistake: they count several times.",
        )  # fmt: skip
    for key in dataset.keys.values():
        torn = [row for own in groups if _differ(key, own) for row in own]
        if torn:
            yield _finding(
                "contradictions", "warning",
                f"{visible(key.name)}: {plural(len(torn), 'row')} with the same text as another "
                "one, and other labels.", dataset, torn, key=key.name,
                default="No model can learn both; copies that are kept are in one part.",
                proposal="Decide on one label for each text.",
            )  # fmt: skip


def _differ(key: LabelKey, rows: Sequence[int]) -> bool:
    return len({tuple(sorted(key.values[row])) for row in rows if key.values[row]}) > 1


def check_near_duplicates(dataset: Dataset, groups: Sequence[Sequence[int]]) -> Iterator[Finding]:
    """Yield how many texts are almost the same as another one.

    Args:
        dataset: The rows.
        groups: Rows that are near duplicates of the first of them.
    """
    extra = [row for own in groups for row in own[1:]]
    if extra:
        stay = dataset.columns.split is None
        yield _finding(
            "near_duplicates", "warning",
            f"{plural(len(extra), 'row')} almost the same as another one.", dataset, extra,
            default="They stay in one part with it." if stay
            else "They stay in the parts that the split column gives them.",
            proposal="Look at some; drop them if they are copies."
            if stay else "Give --split-column none, to have them kept together.",
        )  # fmt: skip


def check_key(key: LabelKey, dataset: Dataset) -> Iterator[Finding]:
    """Yield what is odd about a label column: missing values, rare classes, unequal ones."""
    name = visible(key.name)
    empty = [row for row, values in enumerate(key.values) if not values]
    if empty:
        yield _finding(
            "without_label", "warning", f"{name}: {plural(len(empty), 'row')} without a value.",
            dataset, empty, key=key.name,
            default="No to every label of it." if key.multi
            else "Left out where one model learns the column; no to every label one-vs-all.",
            proposal="Label them, or take them out if they were never coded.",
        )  # fmt: skip
    few = {value: count for value, count in key.counts.items() if count < _FEW}
    if few:
        yield Finding(
            "small_classes", "warning",
            f"{name}: fewer than {_FEW} rows each: {_named(few)}.",
            default="Trained if every part has some of their rows, else the run is refused.",
            proposal="Label more rows; or --set small_classes=drop"
            + (", or =merge." if not key.multi else "."),
            key=key.name, count=sum(few.values()),
        )  # fmt: skip
    if len(key.counts) > 1 and not key.multi:
        most, least = max(key.counts.values()), min(key.counts.values())
        if most >= _UNEQUAL * least:
            yield Finding(
                "imbalance", "note",
                f"{name}: the largest class has {most / least:.0f} times the rows of the smallest.",
                default="Every row weighs the same; macro F1 counts every class alike.",
                proposal="Try --set class_weights=balanced or --set oversample=balanced.",
                key=key.name,
            )  # fmt: skip


def check_leaks(key: LabelKey, columns: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield the other columns that say nearly always which value a row has.

    Args:
        key: A label column.
        columns: Cells of the other columns, one for each row, empty where there is none.
    """
    if key.multi or len(key.counts) < 2:  # one class is said by anything
        return
    labels = [values[0] if values else "" for values in key.values]
    for name, cells in columns.items():
        share = _tells(labels, cells)
        if share >= _TELLS:
            yield Finding(
                "leak", "warning",
                f"{visible(name)} says {visible(key.name)} for {100 * share:.1f} % of the rows.",
                default="It is not read: models see the texts alone.",
                proposal="Make sure that it is not part of the text, and not another label column "
                "of the same thing.",
                key=key.name,
            )  # fmt: skip


def _tells(labels: Sequence[str], cells: Sequence[str]) -> float:
    """Return the share of rows whose label is the most frequent one of their cell's value."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for cell, label in zip(cells, labels, strict=True):
        if cell and label:
            seen[cell][label] += 1
            if len(seen) > _SAMPLE:
                return 0.0
    rows = sum(own.total() for own in seen.values())
    # A column in which hardly a value recurs tells nothing: it names the rows.
    if not rows or len(seen) > rows / 2 or 2 * rows < len(labels):
        return 0.0
    told = sum(own.most_common(1)[0][1] for own in seen.values())
    guess = max(Counter(label for label in labels if label).values()) / rows
    return told / rows if guess < _TELLS else 0.0


def check_label_in_text(key: LabelKey, dataset: Dataset) -> Iterator[Finding]:
    """Yield the labels that stand in nearly all texts of theirs, and in hardly another one."""
    for value, count in key.counts.items():
        word = value.casefold()
        if count < _FEW or len(word) < _SHORT:
            continue
        holds = [word in text.casefold() for text in dataset.texts]
        own = sum(has for has, values in zip(holds, key.values, strict=True) if value in values)
        if own >= 0.9 * count and sum(holds) <= 1.1 * count:
            yield Finding(
                "leak", "warning",
                f"{visible(key.name)}: '{shorten(visible(value), 40)}' stands in "
                f"{100 * own / count:.0f} % of its own texts, and in hardly another one.",
                default="The texts are trained as they are: a model learns to find the word.",
                proposal="Take it out of the texts if it was not there when they were written.",
                key=key.name, count=own,
            )  # fmt: skip


def _named(counts: Mapping[str, int]) -> str:
    shown = [f"{shorten(visible(value), 40)} ({n})" for value, n in list(counts.items())[:_NAMED]]
    return ", ".join(shown) + (", …" if len(counts) > _NAMED else "")


def _finding(
    kind: str, level: Level, what: str, dataset: Dataset, rows: Sequence[int], *,
    default: str, proposal: str = "", key: str = "",
) -> Finding:  # fmt: skip
    named = tuple(dataset.ids[row] for row in rows[:_ROWS_NAMED])
    return Finding(kind, level, what, default, proposal, key, len(rows), named)
