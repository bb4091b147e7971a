"""The language of each text, for a table that does not say it: detected offline.

The detector is py3langid, after Lui & Baldwin (2012), "langid.py: An Off-the-shelf Language
Identification Tool". One short text is weak evidence; all the texts together are not. So they
are read twice: once to find the languages of the dataset, then again among these alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from math import fsum
from typing import TYPE_CHECKING, NamedTuple

from llm_tool.text import plural

if TYPE_CHECKING:
    from llm_tool.data.dataset import Dataset

DETECT = "detect"
_CONFIDENT = 0.8
_SMALLEST_SHARE = 0.02
_READ_CHARACTERS = 1_000
_ADDRESS = re.compile(r"\bhttps?\b\S*|\bwww\.\S+|@\w+")
_NO_LANGUAGE = "zxx"


class _Detected(NamedTuple):
    """A language in lower case, empty where nothing tells it, and its probability."""

    language: str
    confidence: float


_UNKNOWN = _Detected("", 0.0)


def with_detected_languages(dataset: Dataset) -> Dataset:
    """Return a dataset whose rows have the languages that were detected in their texts.

    Languages are ISO 639-1 codes in upper case. A language that makes up less than 2 % of the
    rows that are certain is taken for a mistake, and a row stays without a language where
    nothing in its text tells one. What was found is added to the notes.

    Args:
        dataset: Any dataset; languages that its rows already have are replaced.
    """
    words = [_words(text) for text in dataset.texts]
    detected = _detect(Counter(words))
    rows = [detected[text] for text in words]
    return replace(
        dataset,
        languages=tuple(row.language.upper() for row in rows),
        notes=(*dataset.notes, *_notes(rows)),
    )


class Sorter:
    """Tells which of some languages each text is in, one text without regard to the others."""

    def __init__(self, languages: Collection[str]) -> None:
        """Prepare to tell languages apart.

        Args:
            languages: Codes of ISO 639-1 in upper case; others are never found.
        """
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._every = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._own = copy(self._every)  # what is restricted is each one's own
        codes = [c for c in self._every.labels if len(c) == 2 or c == _NO_LANGUAGE]
        self._every.set_languages(codes)
        self._known = [c.lower() for c in languages if c.lower() in codes]
        if self._known:
            self._own.set_languages(self._known)
        self._nothing_told = _Detected(*self._every.classify(""))

    def language(self, text: str) -> str:
        """Return a text's language in upper case; empty where nothing tells it.

        Another language than the known ones is believed only where the text is clearly in it.
        """
        words = _words(text)
        alone = _Detected(*self._every.classify(words)) if words else _UNKNOWN
        if not words or alone == self._nothing_told or alone.language == _NO_LANGUAGE:
            return ""
        if alone.language in self._known or not self._known or alone.confidence >= _CONFIDENT:
            return alone.language.upper()
        return str(self._own.classify(words)[0]).upper()


def _words(text: str) -> str:
    """Return the start of a text without web addresses and user names; empty if no letter."""
    words = " ".join(_ADDRESS.sub(" ", text[:_READ_CHARACTERS]).split())
    return words if any(c.isalpha() for c in words) else ""


def _detect(texts: Mapping[str, int]) -> dict[str, _Detected]:
    """Return the language of each text; ``texts`` says how many rows have it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    # An own instance: the module's functions share one, and restricting it would outlive us.
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    # First among all languages. Those without a code of two letters are left out: they are
    # mostly close relatives (Pidgin, Wu, Egyptian) that draw short texts from the larger ones.
    identifier.set_languages([c for c in identifier.labels if len(c) == 2 or c == _NO_LANGUAGE])
    nothing_told = _Detected(*identifier.classify(""))
    first = {text: _Detected(*identifier.classify(text)) for text in texts}
    told = {
        text: found
        for text, found in first.items()
        if found != nothing_told and found.language != _NO_LANGUAGE
    }

    # Then among the languages of the dataset.
    languages = _main_languages(told, texts)
    identifier.set_languages(languages)
    detected = dict.fromkeys(texts, _UNKNOWN)
    for text, alone in told.items():
        language, confidence = identifier.classify(text)
        if alone.language not in languages:
            # Of few choices one always looks likely: keep the doubt that this is any of them.
            confidence = min(confidence, 1 - alone.confidence)
        detected[text] = _Detected(language, confidence)
    return detected


def _main_languages(told: Mapping[str, _Detected], rows: Mapping[str, int]) -> Collection[str]:
    """Return the languages with a fair share of the certain rows, or else the most frequent."""
    every: Counter[str] = Counter()
    certain: Counter[str] = Counter()
    for text, (language, confidence) in told.items():
        every[language] += rows[text]
        if confidence >= _CONFIDENT:
            certain[language] += rows[text]
    smallest = _SMALLEST_SHARE * certain.total()
    fair = {language for language, count in certain.items() if count >= smallest}
    return fair or set(_by_frequency(every)[:1])


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda language: (-counts[language], language))


def _notes(rows: Sequence[_Detected]) -> list[str]:
    confidences: dict[str, list[float]] = {}
    for language, confidence in rows:
        confidences.setdefault(language, []).append(confidence)
    unknown = len(confidences.pop("", []))
    doubtful = sum(c < _CONFIDENT for values in confidences.values() for c in values)
    found: list[str] = []
    for language in _by_frequency(Counter({name: len(v) for name, v in confidences.items()})):
        values = confidences[language]
        count, label = f"{len(values):,}", ""
        if not found:
            count, label = plural(len(values), "row"), "mean confidence "
        found.append(f"{language.upper()} {count} ({label}{fsum(values) / len(values):.2f})")
    notes = [f"Languages detected in the texts: {', '.join(found) or 'none'}."]
    if doubtful:
        those = plural(doubtful, "row")
        notes.append(f"The language of {those} is a guess (confidence under {_CONFIDENT:.2f}).")
    if unknown:
        those = plural(unknown, "row")
        notes.append(f"The language of {those} is unknown: nothing in the text tells it.")
    return notes
