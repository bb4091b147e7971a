"""Splits: no row lost, none in two parts, nothing of the test seen in training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_tool.config import make_config
from llm_tool.data.columns import Columns
from llm_tool.data.dataset import Dataset, LabelKey, load_dataset
from llm_tool.data.splits import split_rows
from llm_tool.plan import Parts

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
REAL = Path(__file__).parents[2] / "shared" / "data"


def dataset(
    texts: Sequence[str],
    *,
    languages: Sequence[str] = (),
    groups: Sequence[str] = (),
    parts: Sequence[str] = (),
) -> Dataset:
    empty = ("",) * len(texts)
    return Dataset(
        name="",
        sha256="",
        columns=Columns("text", ("label",)),
        texts=tuple(texts),
        ids=tuple(map(str, range(len(texts)))),
        languages=tuple(languages) or empty,
        groups=tuple(groups) or empty,
        parts=tuple(parts) or empty,
        keys={},
    )


def split(
    data: Dataset,
    labels: Sequence[str],
    *,
    rows: Sequence[int] | None = None,
    validation_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 42,
) -> tuple[Parts, tuple[str, ...]]:
    """Split rows whose labels are given as one letter each: ``abc`` is a row with three labels."""
    shares = {"validation_share": validation_share, "test_share": test_share}
    config = make_config({**shares, "seed": seed})
    own = split_rows(data, range(len(labels)) if rows is None else rows, labels, config)
    (parts,) = own.folds
    return parts, own.notes


def distinct(count: int) -> list[str]:
    return [f"text {i}" for i in range(count)]


def class_sizes(rows: Sequence[int], labels: Sequence[str]) -> Counter[str]:
    return Counter(label for row in rows for label in labels[row])


labels_of = st.lists(st.sampled_from("abcd"), min_size=1, max_size=120)
seeds = st.integers(0, 2**32 - 1)
# Few texts and groups, so that many rows belong together, some of them over several steps.
together = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 12).map(lambda n: f"text {n}"),
        st.sampled_from(["", "", "x", "y", "z"]),
        st.sampled_from(["", "EN", "FR"]),
        st.sampled_from(["", "train", "validation", "test"]),
    ),
    min_size=1,
    max_size=60,
)


several = st.sets(st.sampled_from("abcdefg"), max_size=4).map(lambda own: "".join(sorted(own)))
several_of = st.lists(several, min_size=1, max_size=120)


def with_labels(
    one: st.SearchStrategy[list[tuple[str, ...]]],
) -> st.SearchStrategy[list[tuple[str, ...]]]:
    """Give each row of linked rows any number of labels in the place of its one."""
    return one.flatmap(
        lambda rows: st.lists(several, min_size=len(rows), max_size=len(rows)).map(
            lambda own: [(labels, *row[1:]) for labels, row in zip(own, rows, strict=True)]
        )
    )


@given(rows=together | with_labels(together), seed=seeds)
def test_no_row_is_lost_or_twice_and_no_unit_is_divided(
    rows: list[tuple[str, ...]], seed: int
) -> None:
    labels, texts, groups, languages, _ = zip(*rows, strict=True)
    parts, notes = split(dataset(texts, groups=groups, languages=languages), labels, seed=seed)
    everywhere = [*parts.train, *parts.validation, *parts.test]
    assert sorted(everywhere) == list(range(len(rows)))
    assert notes == ()
    part_of = {row: name for name, own in parts.named().items() for row in own}
    for marks in (texts, groups):
        seen: dict[str, set[str]] = defaultdict(set)
        for row, mark in enumerate(marks):
            seen[mark].add(part_of[row])
        seen.pop("", None)
        assert all(len(own) == 1 for own in seen.values())


@given(rows=together, seed=seeds)
def test_with_a_split_column_rows_only_leave_and_never_change_sides(
    rows: list[tuple[str, ...]], seed: int
) -> None:
    labels, texts, groups, _, given_parts = zip(*rows, strict=True)
    if not any(given_parts):
        return
    parts, _ = split(dataset(texts, groups=groups, parts=given_parts), labels, seed=seed)
    everywhere = [*parts.train, *parts.validation, *parts.test]
    assert len(everywhere) == len(set(everywhere))
    assert all(given_parts[row] == "test" for row in parts.test)
    assert all(given_parts[row] in {"train", "validation"} for row in parts.validation)
    assert all(given_parts[row] == "train" for row in parts.train)
    # Every row of the test part is in the test.
    assert list(parts.test) == [row for row, part in enumerate(given_parts) if part == "test"]
    for marks in (texts, groups):
        sides = [{marks[row] for row in own} - {""} for own in parts.named().values()]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


@given(labels=labels_of, seed=seeds)
def test_every_class_is_in_proportion_to_within_one_row(labels: list[str], seed: int) -> None:
    parts, _ = split(dataset(distinct(len(labels))), labels, seed=seed)
    total = Counter(labels)
    for name, rows in parts.named().items():
        own = class_sizes(rows, labels)
        for label, count in total.items():
            # Three rows are one for each part, although training's share of them is two.
            assert abs(own[label] - SHARES[name] * count) < (1 if count > 3 else 1.2)


@given(labels=labels_of, seed=seeds, test_share=st.sampled_from([0.0, 0.15, 0.4]))
def test_every_class_with_enough_rows_is_in_every_part(
    labels: list[str], seed: int, test_share: float
) -> None:
    parts, _ = split(dataset(distinct(len(labels))), labels, seed=seed, test_share=test_share)
    wanted = [parts.train, parts.validation, *([parts.test] if test_share else [])]
    for label, count in Counter(labels).items():
        if count >= len(wanted):
            assert all(class_sizes(rows, labels)[label] for rows in wanted)
        assert class_sizes(parts.train, labels)[label]


@given(labels=several_of, seed=seeds, test_share=st.sampled_from([0.0, 0.15, 0.4]))
def test_a_label_is_only_missing_from_a_part_where_another_one_needs_each_of_its_rows(
    labels: list[str], seed: int, test_share: float
) -> None:
    parts, _ = split(dataset(distinct(len(labels))), labels, seed=seed, test_share=test_share)
    wanted = [parts.train, parts.validation, *([parts.test] if test_share else [])]
    total = class_sizes(range(len(labels)), labels)
    enough = {label for label, count in total.items() if count >= len(wanted)}
    here = [class_sizes(rows, labels) for rows in wanted]
    for label in sorted(enough):
        if all(own[label] for own in here):
            continue
        for rows, own in zip(wanted, here, strict=True):
            for row in rows:
                if label in labels[row]:
                    assert any(own[other] == 1 for other in enough.intersection(labels[row]))


@given(labels=several_of, extra=st.integers(3, 9), seed=seeds)
def test_a_label_with_three_rows_of_its_own_is_in_every_part(
    labels: list[str], extra: int, seed: int
) -> None:
    labels = [*labels, *["z"] * extra]
    parts, _ = split(dataset(distinct(len(labels))), labels, seed=seed)
    assert all(class_sizes(rows, labels)["z"] for rows in parts.named().values())


@given(labels=st.lists(several, min_size=40, max_size=160), seed=seeds)
@settings(max_examples=50)
def test_every_label_of_rows_with_several_is_near_its_share(labels: list[str], seed: int) -> None:
    parts, _ = split(dataset(distinct(len(labels))), labels, seed=seed)
    total = class_sizes(range(len(labels)), labels)
    for name, rows in parts.named().items():
        own = class_sizes(rows, labels)
        for label, count in total.items():
            assert abs(own[label] - SHARES[name] * count) < 3 + 0.15 * count


@given(labels=several_of, empty=st.integers(0, 80), seed=seeds)
def test_rows_without_a_label_are_divided_in_proportion_too(
    labels: list[str], empty: int, seed: int
) -> None:
    labels = [*filter(None, labels), *[""] * empty]
    parts, _ = split(dataset(distinct(len(labels))), labels, seed=seed)
    for name, rows in parts.named().items():
        own = sum(not labels[row] for row in rows)
        assert abs(own - SHARES[name] * empty) < (1 if empty > 3 else 1.2)
        assert own or empty < 3


def shares_of_a_real_table(key: LabelKey, parts: Parts) -> list[float]:
    """Return by how many rows each label of each part is off its share."""
    return [
        abs(sum(label in key.values[row] for row in rows) - SHARES[name] * count)
        for label, count in key.counts.items()
        for name, rows in parts.named().items()
    ]


def of_the_demo() -> Dataset:
    return load_dataset(make_config({"label": "policy_areas"}))


def of_28_emotions() -> Dataset:
    path = REAL / "emotions_multilabel.jsonl"
    if not path.is_file():
        pytest.skip(f"the public data sets are not in {REAL}")
    return load_dataset(make_config({"data": str(path), "split_column": "none"}))


@pytest.mark.parametrize(("load", "off"), [(of_the_demo, 1), (of_28_emotions, 2)])
def test_labels_of_real_rows_are_in_proportion_to_within_a_row_or_two(
    load: Callable[[], Dataset], off: float
) -> None:
    data = load()
    (key,) = (key for key in data.keys.values() if key.multi)
    for seed in (42, 1):
        own = split_rows(data, range(len(data.texts)), key.values, make_config({"seed": seed}))
        (parts,) = own.folds
        assert max(shares_of_a_real_table(key, parts)) < off


def test_a_row_goes_where_its_rarest_label_needs_it() -> None:
    # Three rows have b, all of them a too: one for each part, whatever a would like.
    labels = ["ab"] * 3 + ["a"] * 97
    for seed in range(20):
        parts, _ = split(dataset(distinct(100)), labels, seed=seed)
        assert [class_sizes(rows, labels)["b"] for rows in parts.named().values()] == [1, 1, 1]
        assert [len(rows) for rows in parts.named().values()] == [70, 15, 15]


def test_a_label_is_moved_to_a_part_that_rarer_labels_left_without_it() -> None:
    # b and c have two rows each and go first, both to training; all of them are the rows of a.
    labels = ["ab", "ab", "ac", "ac", *"dddddddddd"]
    for seed in range(20):
        parts, _ = split(dataset(distinct(len(labels))), labels, seed=seed)
        assert all(class_sizes(rows, labels)["a"] for rows in parts.named().values())


def test_a_unit_with_rows_of_two_classes_counts_for_both() -> None:
    # Group x is all of class b that any part can have, beside two rows of its own.
    labels = "ab" + "b" * 2 + "a" * 20
    groups = ("x", "x", *("",) * 22)
    for seed in range(20):
        parts, _ = split(dataset(distinct(24), groups=groups), labels, seed=seed)
        assert all(class_sizes(rows, labels)["b"] == 1 for rows in parts.named().values())
        assert all(class_sizes(rows, labels)["a"] for rows in parts.named().values())


@given(rows=together | with_labels(together), seed=seeds)
@settings(max_examples=30)
def test_the_same_seed_gives_the_same_split(rows: list[tuple[str, ...]], seed: int) -> None:
    labels, texts, groups, languages, parts = zip(*rows, strict=True)
    data = dataset(texts, groups=groups, languages=languages, parts=parts)
    assert split(data, labels, seed=seed) == split(data, labels, seed=seed)


def test_another_seed_gives_another_split() -> None:
    labels = "ab" * 50
    assert (
        split(dataset(distinct(100)), labels)[0] != split(dataset(distinct(100)), labels, seed=1)[0]
    )


def test_every_language_of_a_class_is_divided_in_proportion_too() -> None:
    labels = ["a"] * 100 + ["b"] * 100
    languages = (["EN"] * 80 + ["FR"] * 20) * 2
    parts, _ = split(dataset(distinct(200), languages=languages), labels)
    shown = {
        name: Counter((labels[row], languages[row]) for row in rows)
        for name, rows in parts.named().items()
    }
    assert shown["train"] == {("a", "EN"): 56, ("a", "FR"): 14, ("b", "EN"): 56, ("b", "FR"): 14}
    assert shown["validation"] == shown["test"]
    assert shown["test"] == {("a", "EN"): 12, ("a", "FR"): 3, ("b", "EN"): 12, ("b", "FR"): 3}


def test_only_the_rows_that_were_asked_for_are_divided() -> None:
    rows = list(range(0, 40, 2))
    parts, _ = split(dataset(distinct(40)), ["a", "b"] * 10, rows=rows)
    assert sorted([*parts.train, *parts.validation, *parts.test]) == rows


@pytest.mark.parametrize("other", ["A  Film", " a\tfilm ", "Ａ ﬁlm", "A FILM"])
def test_texts_that_differ_in_case_space_or_width_are_the_same_text(other: str) -> None:
    parts, notes = split(dataset(["a film", other, "b"], parts=("train", "test", "train")), "aab")
    assert parts.test == [1]
    assert 0 not in parts.train
    assert notes[0] == (
        "1 row left out of training or validation: the same text or group is also in a later part."
    )


def test_rows_without_a_part_are_left_out_and_counted() -> None:
    given_parts = ("train", "", "validation", "test", "")
    parts, notes = split(dataset(distinct(5), parts=given_parts), "ababa")
    assert parts == Parts([0], [2], [3])
    assert notes == ("2 rows left out: the split column is empty.",)


def test_without_validation_rows_they_are_taken_from_training() -> None:
    given_parts = ("train",) * 80 + ("test",) * 20
    parts, notes = split(dataset(distinct(100), parts=given_parts), "ab" * 50)
    assert [len(rows) for rows in parts.named().values()] == [68, 12, 20]
    assert parts.test == list(range(80, 100))
    assert class_sizes(parts.validation, "ab" * 50) == {"a": 6, "b": 6}
    assert notes == ("The split column has no validation rows: taken from its training rows.",)


def test_a_split_column_without_test_rows_gives_no_test() -> None:
    given_parts = ("train", "train", "validation", "validation")
    assert split(dataset(distinct(4), parts=given_parts), "abab") == (Parts([0, 1], [2, 3], []), ())


def test_rows_that_are_linked_over_several_steps_stay_together() -> None:
    # 0 and 1 share a text, 1 and 2 a group, 2 and 3 a text.
    data = dataset(
        ["x", "x", "y", "y", *distinct(6)], groups=("", "g", "g", "", "", "", "", "", "", "")
    )
    for seed in range(20):
        parts, _ = split(data, "a" * 10, seed=seed)
        assert len([rows for rows in parts.named().values() if {0, 1, 2, 3} & {*rows}]) == 1
