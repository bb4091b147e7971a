"""Splits of any table: all rows accounted for, nothing on both sides, every class in proportion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from llm_tool.config import RunConfig, make_config
from llm_tool.data.dataset import Dataset
from llm_tool.data.splits import Split, split_rows
from tests.test_duplicates import alike
from tests.test_splits import dataset

WORDS = [f"w{i}" for i in range(400)]
Row = tuple[str, str, str, str, str]  # labels, text, group, language, part


@st.composite
def texts_of(draw: st.DrawFn, count: int) -> list[str]:
    """Draw texts of which some are, but for case, one from before, and some differ in a word."""
    texts: list[str] = []
    for row in range(count):
        kind = draw(st.sampled_from(["new"] * 5 + ["same", "near"])) if texts else "new"
        if kind == "new":
            start = draw(st.integers(0, len(WORDS) - 12))
            texts.append(" ".join([f"text{row}", *WORDS[start : start + 11]]))
        elif kind == "same":
            texts.append(draw(st.sampled_from(texts)).upper())
        else:
            texts.append(f"{draw(st.sampled_from(texts))} also{row}")
    return texts


@st.composite
def tables(draw: st.DrawFn, parts: Sequence[str] = ("",), labels: int = 1) -> list[Row]:
    """Draw rows with up to so many labels of one letter."""
    count = draw(st.integers(1, 70))
    one = st.sampled_from("aaabbc")
    if labels > 1:
        several = st.sets(st.sampled_from("abcd"), max_size=labels)
        one = several.map(lambda own: "".join(sorted(own)))
    rest = st.tuples(
        st.sampled_from(["", "", "", "x", "y", "z"]),
        st.sampled_from(["", "EN", "FR"]),
        st.sampled_from(parts),
    )
    texts = draw(texts_of(count))
    return [(draw(one), text, *draw(rest)) for text in texts]


shares = st.fixed_dictionaries(
    {
        "validation_share": st.sampled_from([0.1, 0.15, 0.3]),
        "test_share": st.sampled_from([0.0, 0.15, 0.3]),
        "near_duplicates": st.sampled_from(["together", "together", "ignore"]),
        "min_per_part": st.sampled_from([1, 1, 2]),
        "seed": st.integers(0, 2**32 - 1),
    }
)
folds = st.none() | st.integers(2, 5)


def divided(rows: Sequence[Row], keys: Mapping[str, object]) -> tuple[Dataset, RunConfig, Split]:
    labels, texts, groups, languages, parts = zip(*rows, strict=True)
    data = dataset(texts, groups=groups, languages=languages, parts=parts)
    config = make_config(dict(keys))
    return data, config, split_rows(data, range(len(rows)), labels, config)


def families(data: Dataset, *, near: bool) -> list[set[int]]:
    """Return the rows that belong together by text, group and, if asked for, similar text."""
    texts = [text.lower() for text in data.texts]
    family = {row: {row} for row in range(len(texts))}
    for a, b in combinations(range(len(texts)), 2):
        same = texts[a] == texts[b] or (data.groups[a] and data.groups[a] == data.groups[b])
        same = same or (near and alike(texts[a], texts[b]) >= 0.8)
        if same and family[a] is not family[b]:
            family[a] |= family[b]
            family |= dict.fromkeys(family[b], family[a])
    return list({id(own): own for own in family.values()}.values())


def check_accounted_for(split: Split, count: int) -> None:
    for parts in split.folds:
        rows = [row for own in parts.named().values() for row in own]
        assert sorted([*rows, *split.left_out]) == list(range(count))


def check_together(split: Split, whole: Iterable[set[int]]) -> None:
    for parts in split.folds:
        for rows in whole:
            assert sum(not rows.isdisjoint(own) for own in parts.named().values()) <= 1


def limit(config: RunConfig, count: int) -> int:
    """Return how large a unit can become by near duplicates: half of the smallest part."""
    test = 1 / config.folds if config.folds else config.test_share
    every = [test, config.validation_share, 1 - test - config.validation_share]
    return max(2, int(min(share for share in every if share) * count / 2))


@given(rows=tables() | tables(labels=4), keys=shares, folds=folds)
@settings(max_examples=300, deadline=None)
def test_no_group_or_duplicate_is_in_two_parts_and_every_row_is_in_one(
    rows: list[Row], keys: dict[str, object], folds: int | None
) -> None:
    data, config, split = divided(rows, {**keys, "folds": folds})
    assert split.left_out == {}
    assert len(split.folds) == (folds or 1)
    check_accounted_for(split, len(rows))
    check_together(split, families(data, near=False))
    whole = families(data, near=config.near_duplicates == "together")
    if not any("too many for a part" in note for note in split.notes):
        check_together(split, whole)
    check_together(split, (own for own in whole if len(own) <= limit(config, len(rows))))
    if folds:
        tested = [row for parts in split.folds for row in parts.test]
        assert sorted(tested) == list(range(len(rows)))
        # A fold's test rows are in none of its other parts, and so in those of all other folds.
        for parts in split.folds:
            assert not set(parts.test) & {*parts.train, *parts.validation}
    assert divided(rows, {**keys, "folds": folds})[2] == split


@given(rows=tables(parts=("", "train", "train", "validation", "test")), keys=shares)
@settings(max_examples=200, deadline=None)
def test_with_a_split_column_no_row_changes_sides_and_none_is_lost(
    rows: list[Row], keys: dict[str, object]
) -> None:
    data, _, split = divided(rows, keys)
    check_accounted_for(split, len(rows))
    check_together(split, families(data, near=False))
    if any(data.parts):
        for part, own in split.folds[0].named().items():
            come_from = {"train", "validation"} if part == "validation" else {part}
            assert {data.parts[row] for row in own} <= come_from
    later = [row for row, why in split.left_out.items() if "later" in why]
    assert all(data.parts[row] in {"train", "validation"} for row in later)
    assert all(not data.parts[row] for row in set(split.left_out) - set(later))


def test_rows_that_a_row_without_a_part_joins_stay_together() -> None:
    between = [("a", f"text {i} of many", "", "", "train") for i in range(30)]
    rows = [
        ("a", "the same", "", "", "train"),
        ("a", "THE SAME", "one outlet", "", ""),
        ("a", "another text", "one outlet", "", "train"),
        *between,
    ]
    for seed in range(20):
        _, _, split = divided([((row[0],), *row[1:]) for row in rows], {"seed": seed})
        check_together(split, [{0, 2}])


@given(rows=tables() | tables(labels=4), keys=shares, folds=folds)
@settings(max_examples=300, deadline=None)
def test_every_class_is_in_proportion_to_within_a_row_and_the_largest_unit(
    rows: list[Row], keys: dict[str, object], folds: int | None
) -> None:
    _, config, split = divided(rows, {**keys, "folds": folds, "min_per_part": 1})
    largest = max(Counter(split.unit_of.values()).values())
    test = 1 / folds if folds else config.test_share
    share = {"test": test, "validation": config.validation_share}
    share["train"] = 1 - sum(share.values())
    counts = Counter(label for row in rows for label in row[0])
    for parts in split.folds:
        for name, own in parts.named().items():
            here = Counter(label for row in own for label in rows[row][0])
            for label, count in counts.items():
                several = any(len(row[0]) > 1 for row in rows)
                tolerance = largest + 1 + (0.15 * count if several else 0)
                assert abs(here[label] - share[name] * count) <= tolerance
