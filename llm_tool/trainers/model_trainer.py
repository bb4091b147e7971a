"""One job from its plan: load the model, tokenise its rows once, hand over to the trainer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, TypeAlias

from llm_tool.config import LongDocuments, RunConfig, TrainingSettings
from llm_tool.data.dataset import Dataset, Rows
from llm_tool.data.tokens import Examples, JobData, Tokenizer, TokenStore
from llm_tool.data.windows import treatment
from llm_tool.events import JobEnded, Observer
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts
from llm_tool.trainers.bert_base import run_training
from llm_tool.trainers.model_sources import locate
from llm_tool.trainers.multi_label_trainer import label_array
from llm_tool.trainers.pretrained import Model, load_model, load_tokenizer, start_from_shares
from llm_tool.trainers.reinforcement import class_shares

Stores: TypeAlias = dict[tuple[str, int], TokenStore]


class Encoding(Protocol):
    """What training takes of a model before it is loaded; ``Encoder`` finds it out."""

    @property
    def folder(self) -> Path:
        """Where the model's files are."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""

    @property
    def tokens(self) -> TokenStore:
        """The tokens of the rows."""


class Encoder:
    """A model's files, its tokenizer, and the dataset's tokens under it: loaded once a run."""

    def __init__(
        self, model: str, dataset: Dataset, max_length: int | None, stores: Stores | None = None
    ) -> None:
        """Prepare to load a model's files.

        Args:
            model: Hub id, folder or ``embedded``.
            dataset: The rows.
            max_length: Longest text in tokens; by default what the model takes.
            stores: Tokens under the tokenizers of other models, for models that share one.
        """
        self._model = model
        self._dataset = dataset
        self._max_length = max_length
        self._stores = {} if stores is None else stores

    @cached_property
    def folder(self) -> Path:
        """Where the files are."""
        return locate(self._model)

    @cached_property
    def _loaded(self) -> tuple[Tokenizer, TokenStore]:
        tokenizer, longest = load_tokenizer(self.folder)
        limit = min(self._max_length or longest, longest)
        key = identity(tokenizer), limit
        if key not in self._stores:
            self._stores[key] = TokenStore(tokenizer, self._dataset.texts, limit)
        return tokenizer, self._stores[key]

    def load(self) -> None:
        """Find the files and load the tokenizer, if that was not done before.

        Raises:
            StudioError: The model cannot be had, or has no tokenizer that can be used.
        """
        _ = self._loaded

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._loaded[0]

    @property
    def tokens(self) -> TokenStore:
        """The tokens of the dataset's rows."""
        return self._loaded[1]


def identity(tokenizer: Tokenizer) -> str:
    """Return what two tokenizers share that cut every text alike."""
    to_str = getattr(getattr(tokenizer, "backend_tokenizer", None), "to_str", None)
    described = f"{id(tokenizer)}"
    if to_str:
        # What was asked of it last is asked anew with every text.
        lasting = {**json.loads(to_str()), "truncation": None, "padding": None}
        described = json.dumps(lasting, sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def train_job(
    job: Job,
    parts: Parts,
    dataset: Rows,
    encoder: Encoding,
    config: RunConfig,
    session: Session,
    on_event: Observer,
) -> JobEnded:
    """Train one planned job and return its result.

    Raises:
        StudioError: The model cannot be had or loaded, or training fails; see ``run_training``.
    """
    model, data, settings = prepare_job(job, parts, dataset, encoder, config)
    return run_training(
        model,
        encoder.tokenizer,
        data,
        job,
        settings=settings,
        session=session,
        models_dir=config.models_dir,
        on_event=on_event,
    )


def long_rows(parts: Parts, store: TokenStore, config: RunConfig) -> tuple[set[int], LongDocuments]:
    """Return which rows of a job are longer than its model takes, and what is done with them."""
    every = [row for rows in parts.named().values() for row in rows]
    long = store.too_long(every)
    return long, treatment(config.long_documents, len(long), len(every))


def prepare_job(
    job: Job, parts: Parts, dataset: Rows, encoder: Encoding, config: RunConfig
) -> tuple[Model, JobData, TrainingSettings]:
    """Return what a job is trained with: its new model, its tokenised rows, its settings.

    Raises:
        StudioError: The model cannot be had or loaded.
    """
    store = encoder.tokens
    long, how = long_rows(parts, store, config)
    excluded = long if how == "exclude" else set()
    whole = partial(store.windows, overlap=config.window_overlap)
    tokens_of = whole if how == "chunk" else store.token_ids

    def examples(rows: Sequence[int]) -> Examples:
        kept = [row for row in rows if row not in excluded]
        return Examples(
            token_ids=tokens_of(kept),
            labels=label_array(job, dataset, kept),
            languages=[dataset.languages[row] for row in kept],
            rows=kept,
            ids=[dataset.ids[row] for row in kept],
            window_length=store.max_length if how == "chunk" else 0,
        )

    sets = {part: examples(rows) for part, rows in parts.named().items()}
    decided = {
        "max_length": store.max_length,
        "long_documents": how,
        "reinforced": config.reinforces,
    }
    settings = config.model_copy(update=decided)
    multi_label = bool(job.labels)
    model = load_model(encoder.folder, job.task.classes, job.seed, multi_label=multi_label)
    is_yes_or_no = multi_label or job.task.label_value
    if is_yes_or_no and len(sets["train"]):
        start_from_shares(model, class_shares(job, sets["train"], settings))
    cut, chunked = (len(long) * (how == one) for one in ("truncate", "chunk"))
    data = JobData(**sets, cut=cut, excluded=len(excluded), chunked=chunked)
    return model, data, settings
