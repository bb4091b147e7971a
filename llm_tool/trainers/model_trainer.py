"""One job from its plan: load the model, tokenise its rows once, hand over to the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.data.tokens import Examples, Tokenizer, TokenStore
from llm_tool.events import JobEnded, Observer
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts
from llm_tool.trainers.bert_base import JobData, run_training
from llm_tool.trainers.model_sources import locate
from llm_tool.trainers.pretrained import load_model, load_tokenizer


class Encoder:
    """A model's files, its tokenizer, and the dataset's tokens under it: loaded once a run."""

    def __init__(self, model: str, dataset: Dataset, max_length: int | None) -> None:
        self._model = model
        self._dataset = dataset
        self._max_length = max_length

    @cached_property
    def folder(self) -> Path:
        """Where the files are."""
        return locate(self._model)

    @cached_property
    def _loaded(self) -> tuple[Tokenizer, TokenStore]:
        tokenizer, longest = load_tokenizer(self.folder)
        limit = min(self._max_length or longest, longest)
        return tokenizer, TokenStore(tokenizer, self._dataset.texts, limit)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._loaded[0]

    @property
    def tokens(self) -> TokenStore:
        """The tokens of the dataset's rows."""
        return self._loaded[1]


def train_job(
    job: Job,
    parts: Parts,
    dataset: Dataset,
    encoder: Encoder,
    config: RunConfig,
    session: Session,
    on_event: Observer,
) -> JobEnded:
    """Train one planned job and return its result.

    Raises:
        StudioError: The model cannot be had or loaded, or training fails; see ``run_training``.
    """
    labels = _labels(job, dataset)
    store = encoder.tokens

    def examples(rows: Sequence[int]) -> Examples:
        return Examples(
            token_ids=store.token_ids(rows),
            labels=np.fromiter((labels[row] for row in rows), np.int64, len(rows)),
            languages=[dataset.languages[row] for row in rows],
            rows=rows,
            ids=[dataset.ids[row] for row in rows],
        )

    sets = {part: examples(rows) for part, rows in parts.named().items()}
    cut = sum(store.count_cut(rows) for rows in parts.named().values())
    return run_training(
        load_model(encoder.folder, job.task.classes, job.seed),
        encoder.tokenizer,
        JobData(**sets, cut=cut),
        job,
        settings=config.model_copy(update={"max_length": store.max_length}),
        session=session,
        models_dir=config.models_dir,
        on_event=on_event,
    )


def _labels(job: Job, dataset: Dataset) -> dict[int, int]:
    position = {name: i for i, name in enumerate(job.task.classes)}
    values = dataset.keys[job.task.label_key].values
    return {row: position[v[0]] for row, v in enumerate(values) if v and v[0] in position}
