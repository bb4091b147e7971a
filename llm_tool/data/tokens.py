"""Token ids of texts, and the batches made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llm_tool.data.windows import Frame, Ids, Windows, frame_of, split_windows

Tokenizer: TypeAlias = Any  # a tokenizer of transformers, which has no one type for them
_POOL = 16  # batches whose examples are sorted by length together
_PIECE = 1 / 16  # of the token budget: what a piece takes besides its tokens


@dataclass(frozen=True)
class Examples:
    """Tokenised rows with their labels; every sequence has one entry an example.

    ``token_ids`` are unpadded, special tokens included; ``labels`` are positions in the task's
    classes, shape (examples,), or 0 and 1 for each label, shape (examples, labels); ``rows`` are
    positions in the dataset and ``ids`` what the user knows the rows by.

    With a ``window_length`` a longer example is read in windows of so many tokens, special tokens
    included: its ``token_ids`` are theirs one after the other, and only the last may be shorter.
    """

    token_ids: Sequence[Ids]
    labels: NDArray[np.int64]
    languages: Sequence[str]
    rows: Sequence[int]
    ids: Sequence[str]
    window_length: int = 0

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each example, those of all its windows together."""
        return np.fromiter((len(ids) for ids in self.token_ids), np.int64, len(self.token_ids))

    @cached_property
    def windows(self) -> Windows:
        """What goes through the model at once."""
        return split_windows(self.token_ids, self.window_length)


@dataclass(frozen=True)
class JobData:
    """The tokenised rows of one job.

    Of the texts longer than the limit, ``cut`` counts those that lost their end, ``excluded`` those
    left out, ``chunked`` those read in windows.
    """

    train: Examples
    validation: Examples
    test: Examples
    cut: int = 0
    excluded: int = 0
    chunked: int = 0


class TokenStore:
    """The token ids of a dataset's rows under one tokenizer, each row tokenised once."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> None:
        """Keep ids of at most ``max_length`` tokens, special tokens included.

        Args:
            tokenizer: A tokenizer of transformers.
            texts: The texts of all rows of the dataset.
            max_length: Longest text in tokens; the rest of a longer one is cut.
        """
        self._tokenizer = tokenizer
        self._texts = texts
        self._ids: dict[int, Ids] = {}
        self._cut: set[int] = set()
        self._windows: dict[tuple[int, float], Ids] = {}
        self._frame: Frame | None = None
        self.max_length = max_length

    @classmethod
    def filled(
        cls,
        tokenizer: Tokenizer,
        token_ids: Mapping[int, Ids],
        cut: Collection[int],
        windows: Mapping[tuple[int, float], Ids],
        max_length: int,
    ) -> TokenStore:
        """Return a store of rows that were tokenised before; it has no texts for any others.

        Args:
            tokenizer: The tokenizer that it was done with.
            token_ids: The ids of each row.
            cut: The rows that are longer than ``max_length``.
            windows: The windows of rows, by row and overlap.
            max_length: Longest text in tokens.
        """
        store = cls(tokenizer, (), max_length)
        store._ids, store._cut, store._windows = dict(token_ids), set(cut), dict(windows)
        return store

    def token_ids(self, rows: Sequence[int]) -> list[Ids]:
        """Return the token ids of rows."""
        missing = [row for row in rows if row not in self._ids]
        for start in range(0, len(missing), 2000):
            self._tokenise(missing[start : start + 2000])
        return [self._ids[row] for row in rows]

    def too_long(self, rows: Sequence[int]) -> set[int]:
        """Return the rows that are longer than ``max_length``."""
        self.token_ids(rows)
        return self._cut.intersection(rows)

    def windows(self, rows: Sequence[int], overlap: float) -> list[Ids]:
        """Return the token ids of rows, of longer ones those of all windows one after the other.

        Args:
            rows: Positions in the dataset.
            overlap: Share of a window that the next one begins with.

        Raises:
            StudioError: The tokenizer does not put its special tokens around a text.
        """
        for row in self.too_long(rows):
            if (row, overlap) not in self._windows:
                whole = self._whole(row)
                self._frame = self._frame or frame_of(whole, self._whole(row, special=False))
                self._windows[row, overlap] = self._frame.cut(whole, self.max_length, overlap)
        own = self.token_ids(rows)
        return [self._windows.get((row, overlap), ids) for row, ids in zip(rows, own, strict=True)]

    def _whole(self, row: int, *, special: bool = True) -> Ids:
        encoded = self._tokenizer(
            self._texts[row], truncation=False, add_special_tokens=special, verbose=False
        )
        return np.asarray(encoded["input_ids"], dtype=np.int32)

    def _tokenise(self, rows: Sequence[int]) -> None:
        encoded = self._tokenizer(
            [self._texts[row] for row in rows],
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        for row, ids in zip(rows, encoded["input_ids"], strict=True):
            self._ids[row] = np.asarray(ids, dtype=np.int32)
        full = [row for row in rows if len(self._ids[row]) >= self.max_length]
        for row in full:
            if len(self._whole(row)) > self.max_length:
                self._cut.add(row)


def micro_batches(
    order: Sequence[int] | NDArray[np.int64], lengths: NDArray[np.int64], token_budget: int
) -> list[NDArray[np.int64]]:
    """Cut examples into pieces of similar length that hold at most ``token_budget`` padded tokens.

    Of all ways to cut the examples sorted by length, the one that takes the least: padded tokens,
    and for each piece as much as a share of the budget, for what a piece takes whatever its size.

    Args:
        order: Positions of the examples to cut up.
        lengths: Tokens of every example.
        token_budget: Most tokens of a piece, padding included; a longer example stands alone.
    """
    positions = np.asarray(order, dtype=np.int64)  # without a type, no positions are floats
    positions = positions[np.argsort(lengths[positions], kind="stable")]
    widths = lengths[positions]
    # least[i]: what the first i examples take at least; begins[i]: where their last piece begins.
    least, begins = np.zeros(len(positions) + 1), np.zeros(len(positions) + 1, dtype=np.int64)
    for end in range(1, len(positions) + 1):
        # The longest of a piece is its last one and gives the padded width.
        first = max(0, min(end - 1, end - token_budget // int(widths[end - 1])))
        starts = np.arange(first, end)
        takes = least[first:end] + (end - starts) * widths[end - 1]
        best = int(takes.argmin())
        least[end] = takes[best] + token_budget * _PIECE
        begins[end] = starts[best]
    ends = [len(positions)]
    while ends[-1] > 0:
        ends.append(int(begins[ends[-1]]))
    return [positions[begin:end] for end, begin in pairwise(ends)][::-1]


def shuffled_batches(
    lengths: NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of an epoch's batches: every example once, in random order.

    Examples are shuffled, sorted by length within pools of sixteen batches, and the batches are
    shuffled again: little padding, and other neighbours in every epoch.

    Args:
        lengths: Tokens of every example.
        batch_size: Examples of a batch; the last batch may be smaller.
        rng: Where chance comes from.
    """
    order = rng.permutation(len(lengths))
    pool = _POOL * batch_size
    batches = []
    for start in range(0, len(order), pool):
        own = order[start : start + pool]
        own = own[np.argsort(lengths[own], kind="stable")]
        batches += [own[i : i + batch_size] for i in range(0, len(own), batch_size)]
    for number in rng.permutation(len(batches)):
        yield batches[number]


def draw_count(draws: NDArray[np.float64]) -> int:
    """Return how many examples ``draw_rows`` draws in an epoch."""
    whole = np.floor(draws)
    return int(whole.sum()) + round(float((draws - whole).sum()))


def draw_rows(draws: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the positions of an epoch's examples, each as often as it should be drawn.

    Args:
        draws: How often each example is drawn, shape (examples,); 2.5 is twice in every epoch,
            and three times in half of them.
        rng: Where chance comes from; not asked when all draws are whole.
    """
    whole = np.floor(draws)
    rest = draws - whole
    times = whole.astype(np.int64)
    extra = round(float(rest.sum()))
    if extra:
        times[rng.choice(len(draws), size=extra, replace=False, p=rest / rest.sum())] += 1
    return np.repeat(np.arange(len(draws)), times)


def pad(token_ids: Sequence[Ids], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids padded on the right and their mask, each of shape (examples, longest)."""
    width = max(map(len, token_ids))
    ids = np.full((len(token_ids), width), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, one in enumerate(token_ids):
        ids[i, : len(one)] = one
        mask[i, : len(one)] = 1
    return ids, mask
