"""Texts longer than a model takes: what is done with them, and the windows they are read in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm_tool.config import LONG_SHARE, LongDocuments
from llm_tool.errors import StudioError

Ids = NDArray[np.int32]
Number = TypeVar("Number", bound=np.floating[Any])


def treatment(asked: LongDocuments | None, long: int, texts: int) -> LongDocuments:
    """Return what is done with long texts: what was asked for, or what their share suggests.

    Args:
        asked: What the user chose, ``None`` where that is left open.
        long: How many texts are longer than the model takes.
        texts: How many there are.
    """
    return asked or ("chunk" if long > LONG_SHARE * texts else "truncate")


@dataclass(frozen=True)
class Windows:
    """What goes through a model at once: a short text whole, a long one window by window.

    ``token_ids`` has one entry a window, ``documents`` the position of each one's text: from zero,
    ascending, and every text has at least one window.
    """

    token_ids: Sequence[Ids]
    documents: NDArray[np.int64]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each window."""
        return np.fromiter((len(ids) for ids in self.token_ids), np.int64, len(self.token_ids))

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of windows of each text."""
        return np.bincount(self.documents)

    @cached_property
    def shares(self) -> NDArray[np.float32]:
        """What each window counts of its text, so that every text counts once."""
        return (1 / self.counts[self.documents]).astype(np.float32)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.searchsorted(self.documents, np.arange(len(self.counts)))

    def of(self, texts: NDArray[np.int64] | Sequence[int]) -> NDArray[np.int64]:
        """Return the positions of the windows of texts, in the order of the texts."""
        chosen = np.asarray(texts, dtype=np.int64)
        counts = self.counts[chosen]
        shift: NDArray[np.int64] = np.repeat(
            self._starts[chosen] - counts.cumsum() + counts, counts
        )
        return shift + np.arange(len(shift))

    def aggregate(self, logits: NDArray[Number]) -> NDArray[Number]:
        """Return the outputs of each text, shape (texts, outputs): the mean of its windows'.

        Args:
            logits: Outputs of each window, shape (windows, outputs).
        """
        if len(self.counts) == len(logits):
            return logits
        sums = np.add.reduceat(logits, self._starts, axis=0)
        means: NDArray[Number] = (sums / self.counts[:, None]).astype(logits.dtype)
        return means


def split_windows(token_ids: Sequence[Ids], window_length: int) -> Windows:
    """Return the windows of texts.

    Args:
        token_ids: One entry a text, in which the windows of a long one follow each other.
        window_length: Tokens of every window but a text's last one; 0 where no text has several.
    """
    width = window_length or max(map(len, token_ids), default=0)
    if all(len(ids) <= width for ids in token_ids):
        return Windows(token_ids, np.arange(len(token_ids)))
    pieces = [
        (number, ids[start : start + width])
        for number, ids in enumerate(token_ids)
        for start in range(0, len(ids), width)
    ]
    return Windows([ids for _, ids in pieces], np.array([number for number, _ in pieces]))


@dataclass(frozen=True)
class Frame:
    """The special tokens that a tokenizer puts before and after every text."""

    before: Ids
    after: Ids

    def cut(self, whole: Ids, window_length: int, overlap: float) -> Ids:
        """Return the windows of a long text one after the other, each in the special tokens.

        They are those of ``return_overflowing_tokens`` with a ``stride`` in transformers, which
        only tokenizers in Rust can give.

        Args:
            whole: All of the text's tokens, special tokens included.
            window_length: Tokens of a window, special tokens included; the last may be shorter.
            overlap: Share of a window's own tokens that the next one begins with.
        """
        text = whole[len(self.before) : len(whole) - len(self.after)]
        room = window_length - len(self.before) - len(self.after)
        step = room - min(int(overlap * room), room - 1)
        starts = range(0, max(1, len(text) - room + step), step)
        windows = [(self.before, text[start : start + room], self.after) for start in starts]
        return np.concatenate([part for window in windows for part in window])


def frame_of(whole: Ids, bare: Ids) -> Frame:
    """Return the special tokens around a text.

    Args:
        whole: The text's tokens with special tokens.
        bare: The same without.

    Raises:
        StudioError: Special tokens are within the text.
    """
    for before in range(len(whole) - len(bare) + 1):
        end = before + len(bare)
        if np.array_equal(whole[before:end], bare):
            return Frame(whole[:before], whole[end:])
    raise StudioError(
        "The tokenizer does not put its special tokens around a text, so that it has no windows.",
        remedy="Use --long-documents truncate, or another model.",
    )
