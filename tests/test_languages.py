"""Languages that no column says: found in the texts, with an honest word on how surely."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import Dataset, load_dataset
from llm_tool.data.languages import DETECT, with_detected_languages

Write = Callable[..., Path]
REAL = Path(__file__).parents[2] / "shared" / "data"
GERMAN = "Die Ministerin hat gestern vor dem Bundestag über den neuen Haushalt gesprochen."
JAPANESE = "大臣は昨日、国会で新しい予算について話しました。"


def load(path: Path | str, **settings: object) -> Dataset:
    return load_dataset(make_config({"data": str(path), **settings}))


def of_texts(texts: Sequence[str]) -> Dataset:
    """Return the dataset of these texts, with the columns and the name of the demo data."""
    blank = ("",) * len(texts)
    return replace(
        load("demo"), texts=tuple(texts), ids=blank, languages=blank, groups=blank, parts=blank
    )


def detect(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = with_detected_languages(of_texts(texts))
    return found.languages, found.notes


def demo_texts(language: str) -> list[str]:
    demo = load("demo")
    return [t for t, own in zip(demo.texts, demo.languages, strict=True) if own == language]


def agreement(found: Sequence[str], true: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(found, true, strict=True)) / len(true)


def test_the_languages_of_the_demo_data_are_found_without_their_column(write: Write) -> None:
    frame = pd.DataFrame({"text": load("demo").texts, "label": ["a", "b"] * 300})
    path = write("a.csv", frame.to_csv(index=False))
    before = path.read_bytes()

    plain = load(path, language_column=DETECT)
    found = with_detected_languages(plain)

    assert set(plain.languages) == {""}
    assert agreement(found.languages, load("demo").languages) >= 0.995
    assert found.language_list == ("EN", "FR")
    assert found.notes == (
        "Languages detected in the texts: EN 300 rows (mean confidence 1.00), FR 300 (1.00).",
    )
    assert replace(found, languages=plain.languages, notes=plain.notes) == plain
    assert found.columns.language is None
    assert path.read_bytes() == before


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the public data sets are not in {REAL}")
def test_the_languages_of_real_tweets_are_found() -> None:
    tweets = load(REAL / "sentiment_en_fr_es.csv")
    found = with_detected_languages(tweets)
    assert agreement(found.languages, tweets.languages) >= 0.995
    assert found.language_list == tweets.language_list == ("EN", "ES", "FR")
    assert re.fullmatch(
        r"Languages detected in the texts: ES 3,0\d\d rows \(mean confidence 0\.9\d\), "
        r"EN 3,0\d\d \(0\.9\d\), FR 3,0\d\d \(0\.9\d\)\.",
        found.notes[0],
    )


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the public data sets are not in {REAL}")
def test_short_questions_to_an_assistant_are_all_in_one_language() -> None:
    found = with_detected_languages(load(REAL / "clinc150_small.csv"))
    assert found.language_list == ("EN",)
    assert agreement(found.languages, ["EN"] * len(found.texts)) >= 0.999


@pytest.mark.parametrize(
    "text",
    [
        "12345",
        "1 2 3 !!",
        "👍👍 🎉",
        "!!! …",
        "https://example.org/the-film-was-very-good",
        "www.example.org/le-film-est-bon",
        "@the_minister @la_ministre",
        "550e8400-e29b-41d4-a716-446655440000",
        "a",
        "\x1b",
        "",
    ],
)
def test_a_text_that_tells_no_language_has_none(text: str) -> None:
    languages, notes = detect([*demo_texts("EN")[:20], text, *demo_texts("FR")[:20]])
    assert languages == ("EN",) * 20 + ("",) + ("FR",) * 20
    assert notes[0].startswith("Languages detected in the texts: EN 20 rows (mean confidence ")
    assert notes[1:] == ("The language of 1 row is unknown: nothing in the text tells it.",)


def test_texts_that_tell_nothing_at_all_are_counted_and_nothing_is_made_up() -> None:
    assert detect(["👍", "👍", "12"]) == (
        ("", "", ""),
        (
            "Languages detected in the texts: none.",
            "The language of 3 rows is unknown: nothing in the text tells it.",
        ),
    )


def test_addresses_and_user_names_do_not_count_as_words() -> None:
    noise = "https://example.org/the-minister-was-very-good @the_good_minister "
    languages, _ = detect([*demo_texts("EN"), *demo_texts("FR"), f"{noise * 3} C'est bon"])
    assert languages[-1] == "FR"


@pytest.mark.parametrize("text", ["Bonjour", "C'est bon", "pas mal du tout", "MERCI BEAUCOUP"])
def test_a_short_text_is_given_one_of_the_languages_of_the_dataset(text: str) -> None:
    languages, _ = detect([*demo_texts("EN"), *demo_texts("FR"), text])
    assert languages[-1] == "FR"


def test_a_dataset_in_one_language_stays_in_one_despite_a_few_odd_texts() -> None:
    languages, notes = detect([*demo_texts("EN"), GERMAN, JAPANESE, "haha", "lorem ipsum dolor"])
    assert set(languages) == {"EN"}
    # Three are clearly in another language; "haha" could be in any, so why not in this one.
    assert notes == (
        "Languages detected in the texts: EN 304 rows (mean confidence 0.99).",
        "The language of 3 rows is a guess (confidence under 0.80).",
    )


def test_a_language_counts_from_two_rows_in_a_hundred() -> None:
    english = demo_texts("EN")[:98]
    assert set(detect([*english, GERMAN])[0]) == {"EN"}
    assert detect([*english, GERMAN, GERMAN])[0][-2:] == ("DE", "DE")


def test_without_one_certain_text_the_most_frequent_language_is_taken() -> None:
    languages, notes = detect(["good film", "Bonjour", "good film"])
    assert languages == ("EN", "EN", "EN")
    assert notes[0].startswith("Languages detected in the texts: EN 3 rows (mean confidence 0.9")


def test_the_most_frequent_language_comes_first_in_the_notes_after_those_of_the_dataset() -> None:
    texts = [*demo_texts("EN")[:10], *demo_texts("FR")[:30], *[GERMAN] * 10]
    found = with_detected_languages(replace(of_texts(texts), notes=("1 row (3) left out.",)))
    assert found.notes[0] == "1 row (3) left out."
    shown = re.sub(r"\d\.\d\d", "#", found.notes[1])
    assert shown == (
        "Languages detected in the texts: FR 30 rows (mean confidence #), DE 10 (#), EN 10 (#)."
    )


def test_only_the_start_of_a_long_text_is_read() -> None:
    english, french = (" ".join(demo_texts(language)) for language in ("EN", "FR"))
    others = [*demo_texts("EN")[:20], *demo_texts("FR")[:20]]
    assert detect([*others, english[:1000] + french])[0][-1] == "EN"
    assert detect([*others, french[:1000] + english])[0][-1] == "FR"


def test_every_language_is_an_iso_code_of_two_letters_in_upper_case() -> None:
    pidgin = "Di president don tok say make pipol no dey fear, dem go give dem beta moni."
    cantonese = "佢哋琴日喺度傾咗好耐，但係都冇乜嘢結果。"
    languages, _ = detect([pidgin, cantonese, GERMAN, JAPANESE])
    assert all(re.fullmatch("[A-Z]{2}", language) for language in languages)
    assert languages[2:] == ("DE", "JA")


def test_the_same_texts_have_the_same_languages_in_any_order() -> None:
    texts = [*demo_texts("EN")[:40], *demo_texts("FR")[:40], GERMAN, "haha", "ok", "👍", "ok"]
    once, backwards = detect(texts), detect(texts[::-1])
    assert detect(texts) == once
    assert (backwards[0][::-1], backwards[1]) == once


def test_the_detector_that_others_share_is_left_as_it_is() -> None:
    import py3langid

    detect(demo_texts("EN")[:20])
    assert py3langid.classify(GERMAN)[0] == "de"


def test_the_detector_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, llm_tool.cli.app, llm_tool.data.dataset, llm_tool.data.languages\n"
        "print([name for name in sys.modules if name.startswith(('py3langid', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
