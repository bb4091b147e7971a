"""A table labelled with saved models: chunk by chunk, resumable, in constant memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_tool.data.columns import is_missing
from llm_tool.data.dataset import clean_text
from llm_tool.data.streams import Batch
from llm_tool.inference.answers import Tally
from llm_tool.inference.columns import Channel
from llm_tool.inference.facts import (
    Filled,
    Observer,
    PredictionEnded,
    PredictionStarted,
    RowsPredicted,
)
from llm_tool.inference.files import format_for, make_format
from llm_tool.inference.parts import Parts
from llm_tool.inference.preparation import CHUNK_CHARACTERS, CHUNK_ROWS, Work, prepare
from llm_tool.inference.request import Request

if TYPE_CHECKING:
    from llm_tool.inference.predictor import Predictor

_JUDGED = 500  # texts on which the cost of 8 bits is measured


def predict(
    request: Request,
    on_event: Observer,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> PredictionEnded:
    """Write a table with what models say of each of its rows.

    Args:
        request: What to predict.
        on_event: Gets what happens.
        on_progress: Gets the bytes of the table that were looked at, and their number in all.
        chunk_rows: Rows that are predicted, and kept, together.

    Raises:
        StudioError: A model or the table cannot be used, a column is missing, the output is there
            already or cannot be written, or an unfinished one is of something else.
        KeyboardInterrupt: It was stopped; the rows that are finished are kept.
    """
    work = prepare(request, on_progress, chunk_rows)
    parts = Parts(work.out)
    with parts.held():
        finished = parts.begin(work.manifest(), anew=request.overwrite)
        from llm_tool.inference.predictor import Predictor  # brings torch

        predictor = Predictor(work.groups, work.channels)
        attempt = _Attempt(work, parts, predictor, on_event, finished)
        return attempt.run()


class _Attempt:
    """One attempt at an output, which goes on where the last one ended."""

    def __init__(
        self,
        work: Work,
        parts: Parts,
        predictor: Predictor,
        on_event: Observer,
        finished: Sequence[Tally],
    ) -> None:
        self._work, self._parts, self._predictor = work, parts, predictor
        self._on_event = on_event
        self._form = make_format(format_for(work.out), work.table, work.columns)
        self._chunks, self._total = len(finished), Tally()
        for tally in finished:
            self._total.add(tally)
        self._before = self._total.rows
        self._began = 0.0

    def run(self) -> PredictionEnded:
        """Predict all rows that are not finished, and make the output."""
        self._on_event(self._started())
        if self._work.request.int8:
            self._to_int8()
        self._began = time.monotonic()
        for chunk in _chunks(self._work, skip=self._before):
            self._predict(chunk)
        seconds = time.monotonic() - self._began
        self._parts.assemble(self._chunks, self._form.join)
        speed = (self._total.rows - self._before) / max(seconds, 1e-9)
        columns = tuple(self._work.columns)
        ended = PredictionEnded(str(self._work.out), columns, self._total, seconds, speed)
        self._on_event(ended)
        return ended

    def _started(self) -> PredictionStarted:
        work = self._work
        return PredictionStarted(
            data=work.request.data,
            how=work.table.how,
            rows=work.table.count,
            done=self._before,
            filled=tuple(_filled(work, channel) for channel in work.channels),
            text_column=work.text,
            language_column=work.language,
            columns=tuple(work.columns),
            device=self._predictor.device.type,
            out=str(work.out),
            notes=work.notes,
        )

    def _to_int8(self) -> None:
        from llm_tool.inference.cost import to_int8

        frame = self._work.table.head.frame[:_JUDGED]
        keys = {o.label_key for g in self._work.groups for m in g.models for o in m.outputs}
        truth = {
            key: ["" if is_missing(cell) else str(cell).strip() for cell in frame[key]]
            for key in keys.intersection(map(str, frame.columns))
        }
        texts = [clean_text(cell) for cell in frame[self._work.text]]
        column = list(frame[self._work.language]) if self._work.has_language_column else None
        languages = self._work.languages_of(texts, column)
        for cost in to_int8(self._predictor, texts, languages, truth):
            self._on_event(cost)

    def _predict(self, chunk: _Chunk) -> None:
        """Predict some rows, and keep them."""
        languages = self._work.languages_of(chunk.texts, chunk.languages)
        answers, tally = self._predictor.answer(
            chunk.texts, languages, lambda share: self._tell(share * len(chunk.texts))
        )
        with_classes = self._work.request.probabilities
        cells = (column for a in answers for column in a.columns(with_classes=with_classes))
        own = dict(zip(self._work.columns, cells, strict=True))
        self._parts.add(
            self._chunks, tally, lambda path: self._form.write(path, chunk.batches, own)
        )
        self._chunks += 1
        self._total.add(tally)
        self._tell(0)

    def _tell(self, more: float) -> None:
        """Tell how many rows are predicted: those that are kept, and some more."""
        kept, seconds = self._total.rows, time.monotonic() - self._began
        of = self._work.table.count
        self._on_event(RowsPredicted(kept + more, kept, self._before, of, seconds))


def _filled(work: Work, channel: Channel) -> Filled:
    models = work.groups[channel.group].models
    category = models[0].outputs[channel.output].category
    return Filled(channel.name, category, tuple(str(model.folder) for model in models))


@dataclass(frozen=True)
class _Chunk:
    """Some rows, with their texts and, where there is such a column, the cells of languages."""

    batches: list[Batch]
    texts: list[str]
    languages: list[object] | None


def _chunks(work: Work, skip: int) -> Iterator[_Chunk]:
    """Yield the rows of the table, without the first ones, in chunks that never change."""
    batches, rows, characters = [], 0, 0
    passed = 0
    for batch in work.table.batches():
        if passed < skip:
            passed += batch.count
            continue
        batches.append(batch)
        rows += batch.count
        characters += batch.characters
        if rows >= work.chunk_rows or characters >= CHUNK_CHARACTERS:
            yield _chunk(work, batches)
            batches, rows, characters = [], 0, 0
    if batches:
        yield _chunk(work, batches)


def _chunk(work: Work, batches: list[Batch]) -> _Chunk:
    def cells(name: str) -> Iterator[object]:
        return (cell for batch in batches for cell in batch.columns[name])

    texts = [clean_text(cell) for cell in cells(work.text)]
    languages = list(cells(work.language)) if work.has_language_column else None
    return _Chunk(batches, texts, languages)
