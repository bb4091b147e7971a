"""Texts that are the same, or nearly: what must not be on both sides of a split.

Nearly the same is: their pairs of adjoining words overlap by at least a threshold (the Jaccard
index). Candidates come from MinHash signatures cut into bands (Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, chapter 3); the index itself is computed for each of them, so nothing
is called nearly the same that is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 0.8
Link = tuple[int, int, float]  # two rows, the earlier one first, and their Jaccard index

# Thai, Lao, Tibetan, Burmese, Khmer, kana and Han are written without spaces: each character
# counts as a word. Everywhere else a word is what stands between spaces and punctuation; an
# address is one.
_UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED += "\U00020000-\U0003ffff"
_PUNCTUATION = r"\s!-/:-@\[-`{-¿،؛؟۔।॥\u2000-\u206f\u3000-\u303f"
_WORD = re.compile(rf"https?://\S+|[{_UNSPACED}]|[^{_PUNCTUATION}{_UNSPACED}]+")
_FEWEST_PAIRS = 5  # of words; with fewer, one word more or less would already be another text

# A pair at the threshold shares one of 32 bands of 4 with a probability of 1 - 5e-8.
_BANDS, _ROWS = 32, 4
_NEIGHBOURS = 4  # texts of one bucket that each one is compared with, beside its first
_MOST_FAILURES = 32  # a text that so many candidates were not near to is left alone
_CHUNK_TEXTS, _CHUNK_CHARACTERS = 4096, 4_000_000


def normal(text: str) -> str:
    """Return a text without what makes no difference: case, width of characters, white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@lru_cache(maxsize=1)
def same_texts(texts: tuple[str, ...]) -> tuple[int, ...]:
    """Return ``exact_groups``, kept for the texts it was last asked for."""
    return tuple(exact_groups(texts))


@lru_cache(maxsize=1)
def near_texts(texts: tuple[str, ...]) -> tuple[Link, ...]:
    """Return ``near_duplicates``, kept for the texts it was last asked for."""
    return tuple(near_duplicates(texts))


def exact_groups(texts: Iterable[str]) -> list[int]:
    """Return for each text the position of the first one that is the same but for ``normal``."""
    # Digests, for a million long texts a second time would not fit into memory.
    first: dict[bytes, int] = {}
    return [
        first.setdefault(
            blake2b(normal(text).encode("utf-8", "surrogatepass"), digest_size=16).digest(), row
        )
        for row, text in enumerate(texts)
    ]


def near_duplicates(texts: Sequence[str], threshold: float = THRESHOLD) -> list[Link]:
    """Return links between texts that are nearly the same, without those that are the same.

    Every link was verified. Texts that links join over several steps have no more links than
    that takes: see ``clusters``. Of texts that are the same only the first one is looked at; one
    with fewer than six words is near to none. The same texts in the same order give the same
    links. Takes about 250 bytes a text beside the texts.

    Args:
        texts: The texts, in any script.
        threshold: The smallest Jaccard index, from 0.8 to 1; below it candidates can be missed.
    """
    groups = exact_groups(texts)
    rows = np.array([row for row, first in enumerate(groups) if row == first], dtype=np.int64)
    rows, keys = _signatures(texts, rows)
    roots = Roots(len(rows))
    failures = np.zeros(len(rows), dtype=np.int32)

    @lru_cache(maxsize=4096)
    def pairs_of(place: int) -> frozenset[str]:
        return _pairs_of_words(texts[rows[place]])

    links: list[Link] = []
    for band in range(_BANDS):
        for a, b in _candidates(keys[:, band], roots, failures):
            if roots.of(a) == roots.of(b) or failures[b] >= _MOST_FAILURES:
                continue
            likeness = jaccard(pairs_of(a), pairs_of(b))
            if likeness >= threshold:
                roots.join(a, b)
                links.append((int(rows[a]), int(rows[b]), likeness))
            else:
                failures[b] += 1
    return sorted(links)


def clusters(count: int, links: Iterable[tuple[int, int, float]]) -> list[list[int]]:
    """Return the clusters of two or more of ``count`` rows that links join, over any steps."""
    roots = Roots(count)
    linked: set[int] = set()
    for a, b, _ in links:
        roots.join(a, b)
        linked |= {a, b}
    members: dict[int, list[int]] = defaultdict(list)
    for row in sorted(linked):
        members[roots.of(row)].append(row)
    return list(members.values())


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of what either set has that both have; two empty sets share nothing."""
    both = len(a & b)
    return both / (len(a) + len(b) - both) if both else 0.0


def _pairs_of_words(text: str) -> frozenset[str]:
    """Return the pairs of adjoining words of a text."""
    words = _WORD.findall(normal(text))
    return frozenset(map(" ".join, pairwise(words)))


def _signatures(
    texts: Sequence[str], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the rows with enough words, and for each of them a number for each band.

    The numbers have the shape (rows, bands). Two texts have the same one where they agree in the
    band; where they do not, once in four billion.
    """
    from rensa import RMinHash

    long_enough: list[NDArray[np.int64]] = []
    keys: list[NDArray[np.uint32]] = []
    mixing = np.random.default_rng(7).integers(0, 2**64, _ROWS, dtype=np.uint64) | np.uint64(1)
    for chunk in _chunks(texts, rows):
        sets = [_pairs_of_words(texts[row]) for row in chunk]
        enough = np.array([len(own) >= _FEWEST_PAIRS for own in sets], dtype=bool)
        chosen = [list(own) for own in sets if len(own) >= _FEWEST_PAIRS]
        if not chosen:
            continue
        digests = RMinHash.digest_matrix_from_token_sets(chosen, _BANDS * _ROWS, 42).to_rows()
        cut = np.array(digests, dtype=np.uint64).reshape(len(chosen), _BANDS, _ROWS)
        mixed = (cut * mixing).sum(axis=2, dtype=np.uint64)  # modulo 2**64
        keys.append((mixed >> np.uint64(32)).astype(np.uint32))
        long_enough.append(chunk[enough])
    if not keys:
        return rows[:0], np.empty((0, _BANDS), dtype=np.uint32)
    return np.concatenate(long_enough), np.concatenate(keys)


def _chunks(texts: Sequence[str], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield rows a few thousand at a time, fewer where their texts are long."""
    start = characters = 0
    for place, row in enumerate(rows):
        characters += len(texts[row])
        if place + 1 - start == _CHUNK_TEXTS or characters >= _CHUNK_CHARACTERS:
            yield rows[start : place + 1]
            start, characters = place + 1, 0
    if start < len(rows):
        yield rows[start:]


def _candidates(
    keys: NDArray[np.uint32], roots: Roots, failures: NDArray[np.int32]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of texts that agree in a band and are not known to belong together.

    Each text, as the second of the pair, with the first one of its bucket and a few before it: a
    bucket of many costs time and memory in proportion.
    """
    order = np.argsort(keys, kind="stable")
    own = keys[order]
    place = np.arange(len(own))
    starts = np.concatenate([[True], own[1:] != own[:-1]]) if len(own) else np.empty(0, bool)
    first = np.maximum.accumulate(np.where(starts, place, 0)) if len(own) else place
    befores = [place - before for before in range(1, _NEIGHBOURS + 1)]
    other = np.stack([first, *(np.maximum(before, first) for before in befores)], axis=1)
    a, b = order[other].ravel(), np.repeat(order, _NEIGHBOURS + 1)
    known = roots.all()
    open_ = (known[a] != known[b]) & (failures[b] < _MOST_FAILURES)
    yield from zip(a[open_].tolist(), b[open_].tolist(), strict=True)


class Roots:
    """Which numbers belong together; the smallest of them is their root."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def of(self, number: int) -> int:
        """Return the root of a number."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(self, a: int, b: int) -> None:
        """Let two numbers, and all that belong to them, belong together."""
        a, b = sorted((self.of(a), self.of(b)))
        self._parent[b] = a

    def all(self) -> NDArray[np.int64]:
        """Return the root of every number."""
        roots = np.array(self._parent, dtype=np.int64)
        while (roots != roots[roots]).any():
            roots = roots[roots]
        return roots
