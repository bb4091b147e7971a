"""Which model learns which rows: one for all, or one for each language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import StudioError
from llm_tool.plan import MULTILINGUAL
from llm_tool.text import plural, visible

# Codes and names as data have them: en, pt-BR, portuguese, français. A path has another start.
_PER_LANGUAGE = re.compile(r"([^\W\d_]{2,20}(?:[-_ ][^\W_]{1,20})*)=(.+)")


@dataclass(frozen=True)
class Scope:
    """A model and the rows that it is for; ``rows[row]`` tells whether a row is.

    ``uncoded`` are rows that it would be for, had they been labelled.
    """

    model: str
    language: str
    rows: Sequence[bool]
    uncoded: frozenset[int] = frozenset()


def rows_in_scope(scopes: Sequence[Scope]) -> list[int]:
    """Return the rows that at least one model is for."""
    return [row for row, own in enumerate(zip(*(s.rows for s in scopes), strict=True)) if any(own)]


def parse_model(text: str) -> tuple[str, str]:
    """Return the language (upper case, or empty) and the model of ``MODEL`` or ``LANG=MODEL``."""
    match = _PER_LANGUAGE.fullmatch(text)
    return (match[1].upper(), match[2]) if match else ("", text)


def model_scopes(
    config: RunConfig, dataset: Dataset, *, rivals: bool = False
) -> tuple[list[Scope], list[str]]:
    """Return the models of a run with their rows, and notes on rows that none is for.

    Args:
        config: The models and languages that were asked for.
        dataset: The rows and their languages.
        rivals: Several models may be for the same rows.

    Raises:
        StudioError: The models do not fit the mode or the languages of the data.
    """
    given = list(dict.fromkeys(parse_model(text) for text in config.model))
    languages = dataset.language_list
    plain = [model for language, model in given if not language]
    if plain and len(given) > (len(plain) if rivals else 1):
        what = "models for all rows, or for each language" if rivals else "one model, or one for"
        raise StudioError(
            f"{config.mode} trains {what}{'' if rivals else ' each language'}; "
            f"{len(given)} were given.",
            where="--model",
            remedy="Give only --model NAME, or only --model LANG=NAME."
            if rivals
            else "Give one --model NAME, or --model LANG=NAME for each language.",
        )
    if config.languages == "per-language" and not languages:
        raise StudioError(
            "Without a language column there cannot be a model for each language.",
            where="--languages per-language",
            remedy="Name the column with --language-column.",
        )
    if plain and config.languages != "per-language":
        name = MULTILINGUAL if len(languages) > 1 else "".join(languages)
        everything = [True] * len(dataset.texts)
        return [Scope(model, name, everything) for model in plain], []
    if config.languages == "multilingual":
        raise StudioError(
            "One model for all languages was asked for, and a model for each language.",
            where="--languages, --model",
            remedy="Give one --model NAME, or leave out --languages multilingual.",
        )
    wanted = [(language, model) for language in languages for model in plain] if plain else given
    return _for_each_language(wanted, dataset, rivals=rivals)


def _for_each_language(
    wanted: Sequence[tuple[str, str]], dataset: Dataset, *, rivals: bool
) -> tuple[list[Scope], list[str]]:
    present = dataset.language_list
    for language, _ in wanted:
        if language not in present:
            raise StudioError(
                f"The data have no language '{visible(language)}'.",
                where="--model",
                remedy=f"They have {', '.join(map(visible, present))}."
                if present
                else "Name the language column with --language-column.",
            )
    names = [language for language, _ in wanted]
    twice = [language for language in names if names.count(language) > 1]
    if twice and not rivals:
        raise StudioError(f"{twice[0]} has more than one model.", where="--model")
    scopes = [
        Scope(model, language, [own == language for own in dataset.languages])
        for language, model in wanted
    ]
    without = sum(language not in names for language in dataset.languages)
    left_out = [language for language in present if language not in names]
    about = f" ({', '.join(map(visible, left_out))})" if left_out else ""
    return scopes, [
        f"{plural(without, 'row')} left out: no model for their language{about}."
    ] * bool(without)
