"""Rankings: validation chooses, the test never does, and only like is compared with like."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tool.analysis.ranking import Ranking, by_scope, rank, winners
from llm_tool.events import JobEnded
from llm_tool.plan import Task
from tests.test_events import made_end, made_epoch, made_job, made_scores


def result(
    model: str,
    val: float,
    test: float | None = 0.5,
    *,
    key: str = "sentiment",
    value: str = "",
    language: str = "MULTI",
    seed: int = 1,
    **changes: object,
) -> JobEnded:
    """Return the end of a job with these macro F1 scores; what is not given is plain."""
    job = made_job(
        task=Task(key, value, ("good", "bad")),
        model=model,
        model_name=model.rpartition("/")[-1],
        language=language,
        seed=seed,
    )
    scores = None if test is None else replace(made_scores(job), f1_macro=test)
    return made_end(made_epoch(job, f1=val), test=scores, **changes)


def places(ranking: Ranking) -> list[str]:
    return [standing.model for standing in ranking.standings]


def test_validation_chooses_even_where_the_test_says_otherwise() -> None:
    (ranking,) = rank([result("a", 0.6, test=0.9), result("b", 0.7, test=0.1)])
    assert (ranking.category, ranking.language) == ("sentiment", "MULTI")
    assert places(ranking) == ["b", "a"]
    assert [(s.val, s.test) for s in ranking.standings] == [(0.7, 0.1), (0.6, 0.9)]
    assert winners([ranking]) == ("b",)


def test_a_model_stands_with_its_mean_over_seeds_and_their_sample_standard_deviation() -> None:
    done = [
        result("a", val, test, seed=seed, seconds=seconds, tokens_per_second=speed, parameters=7)
        for seed, (val, test, seconds, speed) in enumerate(
            [(0.5, 0.4, 10.0, 100.0), (0.6, 0.2, 20.0, 200.0), (0.9, 0.6, 60.0, 600.0)]
        )
    ]
    (ranking,) = rank([*done, *(result("org/b", 0.6, seed=seed) for seed in range(3))])
    first, second = ranking.standings
    assert (first.model, first.model_name, first.trainings) == ("a", "a", 3)
    assert first.val == pytest.approx((0.5 + 0.6 + 0.9) / 3)
    # Bessel's correction: the squares 0.0278, 0.0044 and 0.0544 over two, not three.
    assert first.val_spread == pytest.approx(0.208167, abs=1e-6)
    assert first.test == pytest.approx(0.4)
    assert first.test_spread == pytest.approx(0.2)
    assert (first.seconds, first.tokens_per_second, first.parameters) == (30, 300, 7)
    assert first.complete
    assert (second.model, second.model_name) == ("org/b", "b")
    assert (second.val, second.val_spread) == (pytest.approx(0.6), pytest.approx(0))


def test_with_one_seed_there_is_no_spread_and_without_test_rows_no_test() -> None:
    ((standing,),) = (r.standings for r in rank([result("a", 0.6, test=None)]))
    assert (standing.val, standing.val_spread) == (0.6, None)
    assert (standing.test, standing.test_spread) == (None, None)


def test_a_model_without_a_result_that_a_rival_has_comes_last_however_good() -> None:
    done = [
        *(result("whole", 0.3, seed=seed) for seed in (1, 2)),
        *(result("worse", 0.2, seed=seed) for seed in (1, 2)),
        result("half", 0.9, seed=1),
    ]
    (ranking,) = rank(done)
    assert places(ranking) == ["whole", "worse", "half"]
    assert [s.complete for s in ranking.standings] == [True, True, False]
    assert winners([ranking]) == ("whole",)


def test_as_many_results_as_a_rival_do_not_make_a_model_complete() -> None:
    (ranking,) = rank(
        [
            result("a", 0.9, seed=1),
            result("a", 0.9, seed=1),  # of a second run
            result("b", 0.5, seed=1),
            result("b", 0.5, seed=2),
        ]
    )
    assert [(s.model, s.complete) for s in ranking.standings] == [("b", True), ("a", False)]


def test_models_for_different_rows_are_never_in_one_ranking() -> None:
    done = [
        result("a", 0.6, language="EN"),
        result("b", 0.7, language="EN"),
        result("a", 0.9, language="FR"),
        result("a", 0.1),
    ]
    assert [(r.category, r.language, places(r)) for r in rank(done)] == [
        ("sentiment", "EN", ["b", "a"]),
        ("sentiment", "FR", ["a"]),
        ("sentiment", "MULTI", ["a"]),
    ]


def test_the_ranking_over_all_categories_is_by_the_mean_of_the_categories() -> None:
    done = [
        *(result("a", val, key="sentiment", seed=seed) for seed, val in ((1, 0.9), (2, 0.7))),
        *(result("a", val, key="topic", seed=seed) for seed, val in ((1, 0.1), (2, 0.5))),
        *(result("b", val, key="sentiment", seed=seed) for seed, val in ((1, 0.6), (2, 0.6))),
        *(result("b", val, key="topic", seed=seed) for seed, val in ((1, 0.7), (2, 0.7))),
    ]
    rankings = rank(done)
    assert [(r.category, places(r)) for r in rankings] == [
        ("sentiment", ["a", "b"]),
        ("topic", ["b", "a"]),
        ("", ["b", "a"]),
    ]
    best, other = rankings[-1].standings
    assert (best.trainings, best.val, best.val_spread) == (4, pytest.approx(0.65), 0)
    # The means of seed 1 and of seed 2 are 0.5 and 0.6.
    assert other.val == pytest.approx(0.55)
    assert other.val_spread == pytest.approx(stdev([0.5, 0.6]))
    assert winners(rankings) == ("b",)


def test_a_model_that_failed_in_one_category_cannot_win_over_all() -> None:
    done = [
        result("a", 0.9, key="sentiment"),
        result("b", 0.5, key="sentiment"),
        result("b", 0.4, key="topic"),
    ]
    rankings = rank(done)
    assert [(r.category, places(r)) for r in rankings] == [
        ("sentiment", ["a", "b"]),
        ("topic", ["b"]),
        ("", ["b", "a"]),
    ]
    assert [s.complete for s in rankings[-1].standings] == [True, False]


def test_each_scope_with_several_categories_has_a_ranking_over_all() -> None:
    done = [
        *(result("a", 0.5, key=key, language="EN") for key in ("sentiment", "topic")),
        result("a", 0.5, language="FR"),
    ]
    assert [(r.category, r.language) for r in rank(done)] == [
        ("sentiment", "EN"),
        ("topic", "EN"),
        ("sentiment", "FR"),
        ("", "EN"),
    ]


def test_the_same_value_of_two_keys_is_two_contests() -> None:
    done = [
        *(result(model, 0.5, key="tone", value="yes") for model in "ab"),
        *(result(model, 0.6, key="irony", value="yes") for model in "ab"),
        *(result(model, 0.6, key="irony", value="no") for model in "ab"),
    ]
    assert [(r.category, [s.trainings for s in r.standings]) for r in rank(done)] == [
        ("tone_yes", [1, 1]),
        ("irony_yes", [1, 1]),
        ("no", [1, 1]),
        ("", [3, 3]),
    ]


def test_two_folders_of_one_name_are_two_models() -> None:
    (ranking,) = rank([result("mine/bert", 0.5), result("yours/bert", 0.6)])
    assert [(s.model, s.model_name) for s in ranking.standings] == [
        ("yours/bert", "bert"),
        ("mine/bert", "bert"),
    ]


def test_of_equal_models_the_smaller_comes_first_then_by_name() -> None:
    sizes = {"d": 9, "c": 5, "b": 9, "a": 9}
    (ranking,) = rank([result(name, 0.5, parameters=size) for name, size in sizes.items()])
    assert places(ranking) == ["c", "a", "b", "d"]


def test_without_results_there_is_no_ranking_and_no_winner() -> None:
    assert rank([]) == []
    assert winners([]) == ()


def test_the_winners_are_what_the_model_flag_takes() -> None:
    english = [result("a", 0.6, language="EN"), result("b", 0.7, language="EN")]
    french = [result("a", 0.9, language="FR"), result("b", 0.7, language="FR")]
    assert winners(rank([*english, *french])) == ("EN=b", "FR=a")
    # One language alone is not all rows.
    assert winners(rank(french)) == ("FR=a",)
    assert winners(rank([replace_language(r, "") for r in english])) == ("b",)
    assert by_scope({"MULTI": "org/a"}) == ("org/a",)


def replace_language(ended: JobEnded, language: str) -> JobEnded:
    return replace(ended, job=replace(ended.job, language=language))


scores = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["k", "l"]), st.integers(1, 3)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    min_size=1,
)


@given(scores=scores, shuffled=st.randoms(use_true_random=False))
def test_neither_test_scores_nor_the_order_of_results_change_who_is_first(
    scores: dict[tuple[str, str, int], tuple[float, float]], shuffled: Random
) -> None:
    done = [
        result(model, val, test, key=key, seed=seed)
        for (model, key, seed), (val, test) in scores.items()
    ]
    blind = [replace(ended, test=None) for ended in done]
    shuffled.shuffle(blind)
    order = {(r.category, r.language): places(r) for r in rank(done)}
    assert {(r.category, r.language): places(r) for r in rank(blind)} == order
    for ranking in rank(done):
        assert [s.complete for s in ranking.standings] == sorted(
            (s.complete for s in ranking.standings), reverse=True
        )
