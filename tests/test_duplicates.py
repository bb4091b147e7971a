"""Duplicates: what is the same, what is nearly the same, and nothing that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_tool.data.duplicates import THRESHOLD, clusters, exact_groups, near_duplicates

LONG = "the minister said today that the new climate law will be voted on before the summer"


def pairs(text: str) -> set[tuple[str, str]]:
    """Return the pairs of adjoining words of a text without punctuation."""
    words = text.lower().split()
    return set(pairwise(words))


def alike(a: str, b: str) -> float:
    """Return the Jaccard index of two texts of plain words; 0 for those that are too short."""
    one, other = pairs(a), pairs(b)
    return len(one & other) / len(one | other) if min(len(one), len(other)) >= 5 else 0.0


def components(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the sets of two or more numbers that edges join, found the slow way."""
    sets = [{number} for number in range(count)]
    for a, b in edges:
        one, other = (next(own for own in sets if number in own) for number in (a, b))
        if one is not other:
            sets.remove(other)
            one |= other
    return sorted(sorted(own) for own in sets if len(own) > 1)


@pytest.mark.parametrize("other", ["A  Film", " a\tfilm ", "Ａ ﬁlm", "A FILM"])
def test_texts_that_differ_in_case_space_or_width_are_the_same(other: str) -> None:
    assert exact_groups(["b", "a film", other, "b "]) == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "other",
    [
        f"RT @user: {LONG}",
        f"{LONG} https://t.co/x",
        f"“{LONG.upper()}!!!”",
        LONG.replace(" ", "... "),
        LONG.replace("summer", "winter"),
    ],
)
def test_a_text_that_was_quoted_shortened_or_ornamented_is_nearly_the_same(other: str) -> None:
    (link,) = near_duplicates([LONG, "something else that nobody would ever say again", other])
    assert link[:2] == (0, 2)
    assert THRESHOLD <= link[2] <= 1


@pytest.mark.parametrize(
    "other",
    [
        "the minister said today that the old tax law was not to be voted on before the autumn",
        " ".join(reversed(LONG.split())),
        LONG[: len(LONG) // 2],
    ],
)
def test_a_text_that_shares_too_little_is_not(other: str) -> None:
    assert near_duplicates([LONG, other]) == []


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("气候变化法案将在夏天之前在议会进行投票表决部长今天说", "快讯"),
        ("รัฐมนตรีกล่าวว่ากฎหมายใหม่จะผ่านก่อนฤดูร้อน", "นี้"),
        ("मंत्री ने आज कहा कि नया कानून गर्मी से पहले पारित होगा", "।"),
        ("قال الوزير اليوم إن القانون الجديد سيصوت عليه قبل الصيف", "، عاجل"),
        ("大臣は今日、新しい法律が夏までに採決されると述べた", "。"),
    ],
)
def test_every_script_has_near_duplicates(text: str, more: str) -> None:
    assert [link[:2] for link in near_duplicates([text, LONG, text + more])] == [(0, 2)]
    assert near_duplicates([text, text[::-1], LONG]) == []


def test_short_texts_are_the_same_or_not_but_never_nearly() -> None:
    assert near_duplicates(["so true", "so true!", "one two three four five", "x"]) == []
    assert near_duplicates(["good " * 50, "good " * 51, "", " ", "🙂" * 9]) == []
    assert near_duplicates([]) == []


def test_of_texts_that_are_the_same_only_the_first_is_linked() -> None:
    texts = [LONG, LONG.upper(), f"RT {LONG}", LONG, f"rt  {LONG}"]
    assert [link[:2] for link in near_duplicates(texts)] == [(0, 2)]


def test_clusters_hold_what_links_join_over_any_steps() -> None:
    assert clusters(7, [(4, 6, 0.9), (0, 2, 0.8), (2, 5, 1.0)]) == [[0, 2, 5], [4, 6]]
    assert clusters(3, []) == []


words = st.sampled_from([f"w{i}" for i in range(60)])
sentences = st.lists(words, min_size=4, max_size=24).map(" ".join)


@st.composite
def corpora(draw: st.DrawFn) -> list[str]:
    """Draw texts of which many differ from one before in a word or two."""
    texts = draw(st.lists(sentences, min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 16))):
        own = draw(st.sampled_from(texts)).split()
        place = draw(st.integers(0, len(own)))
        own[place : place + draw(st.integers(0, 1))] = [draw(words)]
        texts.append(" ".join(own))
    return texts


@given(texts=corpora())
@settings(max_examples=200, deadline=None)
@example(texts=[LONG, LONG])
def test_every_link_is_true_and_links_join_all_that_is_nearly_the_same(texts: list[str]) -> None:
    links = near_duplicates(texts)
    assert all(a < b and likeness == alike(texts[a], texts[b]) for a, b, likeness in links)
    assert all(likeness >= THRESHOLD for *_, likeness in links)
    groups = exact_groups(texts)
    firsts = [row for row, first in enumerate(groups) if row == first]
    edges = [pair for pair in combinations(firsts, 2) if alike(*(texts[i] for i in pair)) >= 0.8]
    assert sorted(clusters(len(texts), links)) == components(len(texts), edges)


def test_the_same_texts_give_the_same_links_in_every_process() -> None:
    script = (
        "from llm_tool.data.duplicates import near_duplicates\n"
        f"base = {LONG!r}.split()\n"
        "texts = [' '.join([*base[:i % 9], f'word{i}', *base[i % 9:]]) for i in range(60)]\n"
        "print(near_duplicates(texts))\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 100


def test_thousands_of_copies_cost_as_many_links_and_no_more() -> None:
    texts = [f"{LONG} number {i}" for i in range(3000)]
    links = near_duplicates(texts)
    assert len(links) == 2999
    assert clusters(3000, links) == [list(range(3000))]
