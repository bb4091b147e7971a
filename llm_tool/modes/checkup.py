"""Look at data before training: everything of them that a user should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from llm_tool.config import LONG_SHARE, RunConfig
from llm_tool.data.checks import (
    Finding,
    Level,
    Spread,
    TokenFacts,
    check_duplicates,
    check_key,
    check_label_in_text,
    check_leaks,
    check_near_duplicates,
    check_texts,
    spread,
)
from llm_tool.data.columns import is_missing
from llm_tool.data.dataset import Dataset, LabelKey, load_table
from llm_tool.data.duplicates import clusters, near_texts, same_texts
from llm_tool.data.languages import with_detected_languages
from llm_tool.data.loaders import Table
from llm_tool.data.readers.rows import Progress
from llm_tool.data.schemes import LABELS
from llm_tool.data.windows import treatment
from llm_tool.errors import StudioError
from llm_tool.modes.planning import plan_run
from llm_tool.modes.scopes import parse_model
from llm_tool.text import plural, visible
from llm_tool.trainers.model_sources import is_here, model_name, unknown_languages

SAMPLE = 20_000  # texts whose language and tokens tell those of all
CountTokens: TypeAlias = Callable[[str, Sequence[str], int | None], TokenFacts]
_LONG = {
    "truncate": "Their end is cut.",
    "chunk": "They are read in windows, which takes longer.",
    "exclude": "They are left out.",
}


@dataclass(frozen=True)
class KeyFacts:
    """What a label column holds: rows of each value, in all and in each language."""

    multi: bool
    values: dict[str, int]
    without: int
    by_language: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Report:
    """What was found in data.

    ``rows`` are those of the file, ``texts`` those with a text. ``languages`` counts rows by the
    language column; without one, ``languages_of`` texts in which they were detected.
    """

    data: str
    how: str
    sha256: str
    rows: int
    texts: int
    columns: dict[str, object]
    languages: dict[str, int]
    languages_of: int | None
    keys: dict[str, KeyFacts]
    characters: Spread
    tokens: tuple[TokenFacts, ...]
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """Whether a run on these data would be refused as they are."""
        return any(finding.level == "error" for finding in self.findings)


def report(config: RunConfig, count: CountTokens, on_progress: Progress | None = None) -> Report:
    """Return what a user should know about the data of a configuration.

    Args:
        config: Names the data, and says how they would be trained.
        count: Says how long texts are in the tokens of a model.
        on_progress: Gets the bytes of the file read so far, and their number in all.

    Raises:
        StudioError: The file cannot be read, or has no texts or labels.
    """
    table, dataset = load_table(config, on_progress)
    languages, of = _languages(dataset)
    tokens, unknown = _tokens(dataset, config, count)
    findings = [*_read(dataset), *unknown, *_long(tokens, config)]
    findings += _foreign(config, languages, dataset)
    findings += oddities(table, dataset)
    findings += _refusal(config, dataset)
    order = ("error", "warning", "note")
    return Report(
        data=config.data,
        how=table.how,
        sha256=table.sha256,
        rows=len(table.frame),
        texts=len(dataset.texts),
        columns={name: value for name, value in vars(dataset.columns).items() if value},
        languages=dict(languages.most_common()),
        languages_of=of,
        keys={name: _facts(key, dataset) for name, key in dataset.keys.items()},
        characters=spread(map(len, dataset.texts)),
        tokens=tuple(tokens),
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.level))),
    )


def oddities(table: Table, dataset: Dataset) -> list[Finding]:
    """Return what is odd about texts and labels, whatever the model and the mode."""
    findings = [
        *check_texts(dataset),
        *check_duplicates(dataset, _same(same_texts(dataset.texts))),
    ]
    near = near_texts(dataset.texts)
    findings += check_near_duplicates(dataset, clusters(len(dataset.texts), near))
    others = _other_columns(table, dataset)
    for key in dataset.keys.values():
        findings += check_key(key, dataset)
        findings += check_leaks(key, others | _single(dataset, key))
        findings += check_label_in_text(key, dataset)
    return findings


def _same(firsts: Sequence[int]) -> list[list[int]]:
    """Return the rows of each text that is there more than once."""
    rows: dict[int, list[int]] = {}
    for row, first in enumerate(firsts):
        if row != first:
            rows.setdefault(first, [first]).append(row)
    return list(rows.values())


def _languages(dataset: Dataset) -> tuple[Counter[str], int | None]:
    """Return rows of each language, and of how many texts where they had to be detected."""
    if dataset.columns.language is not None:
        return Counter(dataset.languages), None
    rows = _sample(len(dataset.texts))
    sample = replace(dataset, texts=tuple(dataset.texts[row] for row in rows), notes=())
    return Counter(with_detected_languages(sample).languages), len(rows)


def _sample(count: int) -> Sequence[int]:
    """Return rows spread evenly over all: at most ``SAMPLE``, the same each time."""
    taken = min(count, SAMPLE)
    return [i * count // taken for i in range(taken)]


def _tokens(
    dataset: Dataset, config: RunConfig, count: CountTokens
) -> tuple[list[TokenFacts], list[Finding]]:
    """Return the lengths in the tokens of each model, and what is said of those not here."""
    facts, missing = [], []
    texts = [dataset.texts[row] for row in _sample(len(dataset.texts))]
    for model in dict.fromkeys(parse_model(text)[1] for text in config.model):
        try:
            if not is_here(model):
                raise StudioError(f"{visible(model)} is not on this machine yet.")
            facts.append(count(model, texts, config.max_length))
        except StudioError as error:
            what = f"{error.what} So nobody knows yet how many texts are too long for it."
            missing.append(Finding("model", "note", what, default="It is downloaded for a run."))
    return facts, missing


def _long(tokens: Sequence[TokenFacts], config: RunConfig) -> Iterator[Finding]:
    for own in tokens:
        if own.over:
            how = treatment(config.long_documents, round(own.over * own.sampled), own.sampled)
            yield Finding(
                "long_texts", "warning" if own.over > LONG_SHARE else "note",
                f"{100 * own.over:.1f} % of the texts are longer than {own.limit:,} tokens, the "
                f"most that {visible(own.model)} takes.",
                default=_LONG[how], proposal="Choose with --long-documents.",
            )  # fmt: skip


def _read(dataset: Dataset) -> Iterator[Finding]:
    """Yield what was said while the file was read."""
    for note in dataset.notes:
        level: Level = "note" if note.startswith(LABELS) else "warning"
        yield Finding("reading", level, note, default="")


def _foreign(
    config: RunConfig, languages: Mapping[str, int], dataset: Dataset
) -> Iterator[Finding]:
    unknown = dataset.languages.count("")
    if unknown and dataset.columns.language is not None:
        yield Finding(
            "language", "note", f"{plural(unknown, 'text')} without a language.",
            default="Only a model for all languages learns them.", count=unknown,
        )  # fmt: skip
    for language, model in map(parse_model, config.model):
        spoken = [language] if language else sorted(set(languages) - {""})
        foreign = unknown_languages(model, spoken)
        if foreign:
            shown = ", ".join(map(visible, foreign))
            yield Finding(
                "language", "warning",
                f"{visible(model_name(model))} was not pretrained on {shown}.",
                default="It is trained all the same.",
                proposal="Choose a model of that language, or one of many languages, with --model.",
            )  # fmt: skip


def _other_columns(table: Table, dataset: Dataset) -> dict[str, Sequence[str]]:
    """Return the cells of the columns that are not learned, for the rows that have a text."""
    used = {dataset.columns.text, *dataset.columns.labels, dataset.columns.split}
    cells: dict[str, Sequence[str]] = {}
    for name in table.frame.columns:
        if name not in used:
            column = table.frame[name].tolist()
            kept = (column[row] for row in dataset.kept)
            cells[str(name)] = ["" if is_missing(cell) else str(cell) for cell in kept]
    return cells


def _single(dataset: Dataset, key: LabelKey) -> dict[str, Sequence[str]]:
    """Return the other label columns with one value a row."""
    return {
        other.name: ["".join(values) for values in other.values]
        for other in dataset.keys.values()
        if other is not key and not other.multi
    }


def _refusal(config: RunConfig, dataset: Dataset) -> Iterator[Finding]:
    """Yield why a run would be refused, if it would be."""
    try:
        plan_run(config, dataset)
    except StudioError as error:
        where = f" ({visible(error.where)})" if error.where else ""
        yield Finding("refused", "error", f"{error.what}{where}", default="The run is refused.",
                      proposal=error.remedy)  # fmt: skip


def _facts(key: LabelKey, dataset: Dataset) -> KeyFacts:
    by_language: dict[str, Counter[str]] = {}
    if dataset.columns.language is not None:
        for language, values in zip(dataset.languages, key.values, strict=True):
            by_language.setdefault(language, Counter()).update(values)
    return KeyFacts(
        multi=key.multi,
        values=dict(key.counts),
        without=sum(not values for values in key.values),
        by_language={name: dict(own.most_common()) for name, own in sorted(by_language.items())},
    )
