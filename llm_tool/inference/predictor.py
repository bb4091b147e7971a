"""Models in memory, and texts through all of them: tokenised once for those that cut alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from llm_tool.config import Precision
from llm_tool.data.tokens import Tokenizer, TokenStore
from llm_tool.data.windows import split_windows
from llm_tool.inference.answers import Answer, Tally, empty_answer
from llm_tool.inference.columns import Channel, Group
from llm_tool.inference.models import Output, SavedModel
from llm_tool.trainers.device import best_device
from llm_tool.trainers.forward import predict_documents
from llm_tool.trainers.kernels import keep_memory
from llm_tool.trainers.model_trainer import identity
from llm_tool.trainers.multi_label_trainer import Logits, predict, probabilities
from llm_tool.trainers.pretrained import Model, load_classifier, load_tokenizer

Stores = dict[tuple[str, int], TokenStore]
OnShare = Callable[[float], None]  # gets how much of the work is done, from 0 to 1


class Loaded:
    """A saved model in memory."""

    def __init__(self, saved: SavedModel, precision: Precision) -> None:
        """Load a model and its tokenizer, and put it where it is fastest.

        Raises:
            StudioError: It cannot be loaded, or was not trained to classify.
        """
        self.saved = saved
        self.tokenizer: Tokenizer
        self.tokenizer, longest = load_tokenizer(saved.folder)
        self.max_length = min(saved.max_length or longest, longest)
        self.model: Model = load_classifier(saved.folder).to(best_device())
        self.key = identity(self.tokenizer), self.max_length
        self.precision = precision

    def logits(
        self,
        store: TokenStore,
        rows: Sequence[int],
        on_share: OnShare | None = None,
    ) -> Logits:
        """Return the outputs for some rows, shape (rows, outputs), as the model was trained.

        Args:
            store: The tokens of the texts.
            rows: Positions of the texts.
            on_share: Gets how much of it is done.
        """
        chunked = self.saved.long_documents == "chunk"
        overlap = self.saved.window_overlap
        ids = store.windows(rows, overlap) if chunked else store.token_ids(rows)
        windows = split_windows(ids, self.max_length if chunked else 0)
        # Attention aside, a window takes as long as it is, and short ones come first.
        lengths, done = np.sort(windows.lengths), 0
        before, whole = np.concatenate([[0], lengths.cumsum()]), max(1, int(lengths.sum()))

        def advanced(count: int) -> None:
            nonlocal done
            done = min(done + count, len(lengths))  # begun anew where memory ran out
            if on_share is not None:
                on_share(float(before[done]) / whole)

        return predict_documents(
            self.model, self.tokenizer, windows, precision=self.precision, on_piece=advanced
        )


class Predictor:
    """Some models, and the columns that their answers go to."""

    def __init__(
        self,
        groups: Sequence[Group],
        channels: Sequence[Channel],
        precision: Precision = "float32",
    ) -> None:
        """Load every model.

        Raises:
            StudioError: One cannot be loaded.
        """
        keep_memory()
        self.groups, self.channels = groups, channels
        self.loaded: dict[int, Loaded] = {
            position: Loaded(model, precision)
            for group in groups
            for position, model in zip(group.positions, group.models, strict=True)
        }

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        first: torch.device = next(next(iter(self.loaded.values())).model.parameters()).device
        return first

    def store(self, loaded: Loaded, texts: Sequence[str], stores: Stores) -> TokenStore:
        """Return the tokens of texts, which models whose tokenizers cut alike have in common."""
        if loaded.key not in stores:
            stores[loaded.key] = TokenStore(loaded.tokenizer, texts, loaded.max_length)
        return stores[loaded.key]

    def answer(
        self, texts: Sequence[str], languages: Sequence[str], on_share: OnShare | None = None
    ) -> tuple[list[Answer], Tally]:
        """Return what the models say of texts, category by category, and what became of the rows.

        Args:
            texts: As ``clean_text`` gives them; of an empty one nothing is said.
            languages: In upper case; empty where no model asks for them.
            on_share: Gets how much of it is done.
        """
        tally = Tally(rows=len(texts), empty=sum(not text for text in texts))
        answers = [empty_answer(c.name, c.classes, len(texts)) for c in self.channels]
        stores: Stores = {}
        done = 0.0
        for number, group in enumerate(self.groups):
            channels = [(c, a) for c, a in zip(self.channels, answers, strict=True)
                        if c.group == number]  # fmt: skip
            names = [channel.name for channel, _ in channels]
            rows_of = _routed(group, texts, languages, names, tally)
            for position, rows in rows_of.items():
                loaded = self.loaded[position]
                store = self.store(loaded, texts, stores)
                kept = _kept(loaded, store, rows, names, tally)
                step = len(rows) / max(1, len(texts)) / len(self.groups)
                logits = loaded.logits(store, kept, _part(on_share, done, step))
                done += step
                for channel, answer in channels:
                    _fill(answer, loaded.saved, channel.output, logits, kept)
        tally.count_labels(answers)
        return answers, tally


def _part(on_share: OnShare | None, done: float, step: float) -> OnShare | None:
    """Return what is told how much of a part of the work is done."""
    if on_share is None:
        return None
    return partial(_tell, on_share, done, step)


def _tell(on_share: OnShare, done: float, step: float, share: float) -> None:
    on_share(min(1.0, done + share * step))


def _routed(
    group: Group,
    texts: Sequence[str],
    languages: Sequence[str],
    names: Sequence[str],
    tally: Tally,
) -> dict[int, list[int]]:
    """Return the rows with a text that each model of a group gets; the others are counted."""
    rows_of: dict[int, list[int]] = {position: [] for position in group.positions}
    lost: Counter[str] = Counter()
    for row, (text, language) in enumerate(zip(texts, languages, strict=True)):
        if not text:
            continue
        position = group.model_for(language)
        if position is None:
            lost[language] += 1
        else:
            rows_of[position].append(row)
    for name in names if lost else ():
        tally.unrouted.setdefault(name, Counter()).update(lost)
    return rows_of


def _kept(
    loaded: Loaded, store: TokenStore, rows: list[int], names: Sequence[str], tally: Tally
) -> list[int]:
    """Return the rows without those that a model leaves out; these and those cut are counted."""
    how = loaded.saved.long_documents
    long = store.too_long(rows) if how != "chunk" else set()
    for name in names if long else ():
        (tally.excluded if how == "exclude" else tally.cut)[name] += len(long)
    return [row for row in rows if row not in long] if how == "exclude" else rows


def _fill(
    answer: Answer, model: SavedModel, position: int, logits: Logits, rows: list[int]
) -> None:
    """Write what a model says of rows into an answer."""
    output = model.outputs[position]
    own = own_logits(model, position, logits)
    shares, labels = probabilities(own).astype(np.float64), predict(own, output.threshold)
    where = np.array([answer.classes.index(name) for name in output.classes])
    answer.labels[rows] = where[labels]
    answer.probability[rows] = said(output, shares, labels)
    answer.shares[np.asarray(rows, dtype=np.int64)[:, None], where] = shares


def said(
    output: Output, shares: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the probability beside each label: of yes in a yes-or-no category, else of the label.

    A yes-or-no label is decided by a threshold: its rows can be ranked, and decided anew, by the
    probability of yes alone.
    """
    if output.threshold is not None:
        return shares[:, 1]
    taken: NDArray[np.float64] = np.take_along_axis(shares, labels[:, None], axis=1)[:, 0]
    return taken


def own_logits(model: SavedModel, position: int, logits: Logits) -> Logits:
    """Return the numbers of one output's classes, shape (rows, classes)."""
    if not model.multi_label:
        return logits
    yes = logits[:, position]
    return np.stack([np.zeros_like(yes), yes], axis=1)
