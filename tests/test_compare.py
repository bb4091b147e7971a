"""Models of finished sessions, compared on the test items that they share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from statsmodels.stats.multitest import multipletests

from llm_tool.analysis.compare import Comparison, Contest, Gap, Interval, compare
from llm_tool.analysis.statistics import mcnemar_p
from llm_tool.errors import StudioError
from llm_tool.logs.archive import Archive, Training, read_session
from llm_tool.plan import Task
from tests.archives import Made, archive, noisy, table, training
from tests.conftest import FINISHED

TRUE = ["good", "bad", "good"] * 40
DRAWS = 300


@pytest.fixture(scope="module")
def compared(finished: Path) -> Comparison:
    return compare([read_session(finished / "training_logs", FINISHED)], repetitions=DRAWS)


def of(*archives: Archive) -> Comparison:
    return compare(archives, repetitions=DRAWS)


def only(*trainings: Training) -> Contest:
    """Return the one contest of some trainings of one session."""
    found = of(archive(*trainings))
    assert found.refusals == ()
    (contest,) = found.contests
    return contest


def test_each_category_is_a_contest_of_its_models_with_all_their_seeds(
    compared: Comparison,
) -> None:
    assert [(c.category, c.language, len(c.entries)) for c in compared.contests] == [
        ("sentiment", "MULTI", 2),
        ("topic", "MULTI", 2),
    ]
    assert compared.refusals == ()
    for contest in compared.contests:
        assert {entry.name for entry in contest.entries} == {"tiny-bert", "other-bert"}
        assert [pair.first for pair in contest.pairs] == [contest.entries[0].name]
        assert contest.notes == ()
        for entry in contest.entries:
            assert entry.seeds == (1, 2)
            assert [result.language for result in entry.languages] == ["EN", "FR"]
            assert entry.f1_macro.low <= entry.f1_macro.value <= entry.f1_macro.high


def test_the_score_of_a_model_is_the_mean_of_what_its_trainings_recorded(
    finished: Path, compared: Comparison
) -> None:
    archive = read_session(finished / "training_logs", FINISHED)
    for contest in compared.contests:
        for entry in contest.entries:
            own = [
                t.ended
                for t in archive.by_category()[contest.category]
                if t.ended and t.job.model_name == entry.name
            ]
            tests = [ended.test for ended in own if ended.test]
            assert entry.f1_macro.value == pytest.approx(sum(t.f1_macro for t in tests) / 2)
            assert entry.accuracy == pytest.approx(sum(t.accuracy for t in tests) / 2)
            best = [ended.best.scores.f1_macro for ended in own]
            assert entry.val == pytest.approx(sum(best) / 2)


def test_validation_gives_the_order_even_where_the_test_says_otherwise() -> None:
    contest = only(
        training(table(TRUE, noisy(TRUE, 0.9, 1)), model="org/a", val=0.4),
        training(table(TRUE, noisy(TRUE, 0.3, 2)), model="org/b", val=0.8),
    )
    assert [(entry.name, entry.val) for entry in contest.entries] == [("b", 0.8), ("a", 0.4)]
    (pair,) = contest.pairs
    assert (pair.first, pair.second) == ("b", "a")
    assert pair.distinguishable
    assert pair.difference.high < 0
    assert pair.items_needed is None


def test_a_pair_is_judged_on_the_same_items_as_statsmodels_would() -> None:
    answers = {name: noisy(TRUE, 0.8, seed) for seed, name in enumerate("abc")}
    contest = only(
        *(training(table(TRUE, own), model=name, val=0.5) for name, own in answers.items())
    )
    right = {name: np.array(own) == np.array(TRUE) for name, own in answers.items()}
    f1 = {name: f1_score(TRUE, own, average="macro") for name, own in answers.items()}
    for pair in contest.pairs:
        assert pair.difference.value == pytest.approx(f1[pair.first] - f1[pair.second])
        assert pair.only_first == (right[pair.first] & ~right[pair.second]).sum()
        assert pair.only_second == (right[pair.second] & ~right[pair.first]).sum()
        assert pair.mcnemar_p == mcnemar_p(pair.only_first, pair.only_second)
        # An interval that takes zero in and a p value over 5 % say the same.
        crosses = pair.difference.low <= 0 <= pair.difference.high
        assert crosses == (pair.bootstrap_p >= 0.05)
    for raw, corrected in (("bootstrap_p", "bootstrap_holm"), ("mcnemar_p", "mcnemar_holm")):
        own = [getattr(pair, corrected) for pair in contest.pairs]
        ps = [getattr(pair, raw) for pair in contest.pairs]
        assert own == pytest.approx(multipletests(ps, method="holm")[1].tolist())


def test_of_several_seeds_the_score_is_the_mean_and_the_spread_their_deviation() -> None:
    answers = [noisy(TRUE, 0.7, seed) for seed in range(3)]
    flat = [0.5] * len(TRUE)
    contest = only(
        *(
            training(table(TRUE, own, good=flat, bad=flat), seed=seed, val=0.5 + 0.1 * seed)
            for seed, own in enumerate(answers)
        )
    )
    (entry,) = contest.entries
    f1 = [f1_score(TRUE, own, average="macro") for own in answers]
    assert entry.f1_macro.value == pytest.approx(np.mean(f1))
    assert entry.seed_spread == pytest.approx(np.std(f1, ddof=1))
    assert (entry.seeds, entry.val, entry.val_spread) == (
        (0, 1, 2),
        pytest.approx(0.6),
        pytest.approx(0.1),
    )


def test_mcnemar_takes_the_answer_of_the_seeds_mean_probabilities() -> None:
    true = ["good", "good", "bad", "bad"]
    sure, unsure = [0.9, 0.1, 0.2, 0.9], [0.4, 0.6, 0.4, 0.3]  # of good; means .65 .35 .3 .6
    seeds = [
        training(
            table(
                true,
                ["good" if p >= 0.5 else "bad" for p in shares],
                bad=[1 - p for p in shares],
                good=shares,
            ),
            seed=seed,
        )
        for seed, shares in enumerate((sure, unsure))
    ]
    rival = training(table(true, ["bad", "bad", "good", "bad"]), model="org/rival", val=0.1)

    (pair,) = only(*seeds, rival).pairs

    # The mean says good bad bad good: right on the first and third, the rival on the last.
    assert (pair.only_first, pair.only_second) == (2, 1)


def test_seeds_of_a_yes_or_no_label_vote_by_the_distance_from_their_own_thresholds() -> None:
    task = Task("areas", "law", ("not_law", "law"))
    true = ["law", "law", "not_law", "not_law"]
    made = []
    for seed, (threshold, yes) in enumerate(
        [(0.2, [0.5, 0.15, 0.1, 0.3]), (0.8, [0.6, 0.9, 0.1, 0.6])]
    ):
        answers = ["law" if p >= threshold else "not_law" for p in yes]
        shares = table(true, answers, not_law=[1 - p for p in yes], law=yes)
        made.append(training(shares, seed=seed, task=task, threshold=threshold))
    none = training(table(true, ["not_law"] * 4), task=task, model="org/rival", val=0.1)

    (contest,) = of(archive(*made, none)).contests

    # Means .55 .525 .1 .45 from 0.5: law law not not, all right; the rival misses the first two.
    assert contest.category == "law"
    assert (contest.pairs[0].only_first, contest.pairs[0].only_second) == (2, 0)


def test_the_tests_of_all_folds_are_one_test_set_with_every_row_once() -> None:
    answers = {"a": noisy(TRUE, 0.8, 1), "b": noisy(TRUE, 0.6, 2)}
    folds = [range(fold, len(TRUE), 3) for fold in range(3)]
    contest = only(
        *(
            training(
                table([TRUE[i] for i in rows], [own[i] for i in rows], rows=rows),
                model=name,
                fold=fold,
                val=0.1 * fold,
            )
            for name, own in answers.items()
            for fold, rows in enumerate(folds, start=1)
        )
    )
    assert contest.items == len(TRUE)
    for entry in contest.entries:
        pooled = f1_score(TRUE, answers[entry.name], average="macro")
        assert entry.f1_macro.value == pytest.approx(pooled)
        assert (entry.folds, entry.seeds, entry.seed_spread) == (3, (1,), None)
        assert entry.val == pytest.approx(0.2)


def refused(first: Made, second: Made) -> tuple[str, int]:
    """Return why two trainings were not paired; each stands alone with its own items."""
    found = of(archive(first), archive(replace(second, session_id="s2")))
    assert [contest.pairs for contest in found.contests] == [(), ()]
    assert sorted(contest.items for contest in found.contests) == sorted(
        len(made.table) for made in (first, second)
    )
    (refusal,) = found.refusals
    assert refusal.trainings == (f"s2/{second.job.name}",)
    return refusal.reason, len(found.contests)


def test_test_sets_that_differ_are_never_paired_and_never_cut_to_what_they_share() -> None:
    answers = noisy(TRUE, 0.8, 1)
    plain = training(table(TRUE, answers))
    other = training(table(TRUE, answers), data="d2", model="org/b")
    assert refused(plain, other)[0] == (
        "Not paired with s1/j0001: other data: d1.csv (SHA-256 d1) and d2.csv (d2)."
    )
    fewer = training(table(TRUE[:90], answers[:90], rows=range(30, 120)), model="org/b")
    assert refused(plain, fewer)[0] == (
        "Not paired with s1/j0001: other test rows of the same data: 120 and 90, 90 of them in "
        "both."
    )
    relabelled = training(table(["bad", *TRUE[1:]], answers), model="org/b")
    assert refused(plain, relabelled)[0] == (
        "Not paired with s1/j0001: other true labels of 1 test row."
    )
    named = table(TRUE, answers).assign(id="x")
    assert refused(plain, training(named, model="org/b"))[0] == (
        "Not paired with s1/j0001: other ids of the same test rows."
    )


def test_a_fold_without_a_result_is_named_where_it_keeps_models_apart() -> None:
    whole = [table(TRUE[i::2], TRUE[i::2], rows=range(i, len(TRUE), 2)) for i in range(2)]
    found = of(
        archive(
            *(training(own, fold=i, model="org/a") for i, own in enumerate(whole, 1)),
            training(whole[0], fold=1, model="org/b"),
            replace(training(None, fold=2, model="org/b"), category="sentiment"),
        )
    )
    (refusal,) = found.refusals
    assert refusal.reason.endswith("120 and 60, 60 of them in both (fold 2 without a result).")


def test_models_of_two_sessions_with_the_same_test_items_meet() -> None:
    first = training(table(TRUE, noisy(TRUE, 0.8, 1)), model="org/a")
    second = training(table(TRUE, noisy(TRUE, 0.6, 2)), model="org/b", session="s2")
    found = of(archive(first), archive(second), archive(first))  # one named twice counts once
    (contest,) = found.contests
    assert [(e.name, e.sessions) for e in contest.entries] == [("a", ("s1",)), ("b", ("s2",))]
    assert len(contest.pairs) == 1


def test_the_same_model_and_settings_in_two_sessions_are_one_model_with_more_seeds() -> None:
    flat = [0.5] * len(TRUE)
    made = [
        training(table(TRUE, noisy(TRUE, 0.8, i), good=flat, bad=flat), seed=i, session=f"s{i}")
        for i in (1, 2)
    ]
    (contest,) = of(*map(archive, made)).contests
    assert [(e.name, e.seeds, e.sessions) for e in contest.entries] == [("a", (1, 2), ("s1", "s2"))]


def test_a_model_with_other_settings_is_another_one_and_named_by_them() -> None:
    contest = only(
        training(table(TRUE, noisy(TRUE, 0.8, 1)), run="j0001", epochs=3),
        training(table(TRUE, noisy(TRUE, 0.6, 2)), run="j0002", epochs=10),
    )
    assert {entry.name for entry in contest.entries} == {"a (epochs=3)", "a (epochs=10)"}


def test_models_of_one_name_are_told_apart_by_where_they_come_from() -> None:
    contest = only(
        training(table(TRUE, noisy(TRUE, 0.8, 1)), model="mine/bert"),
        training(table(TRUE, noisy(TRUE, 0.6, 2)), model="yours/bert"),
    )
    assert {entry.name for entry in contest.entries} == {"bert (mine/bert)", "bert (yours/bert)"}


def test_a_training_that_was_done_twice_counts_once_and_one_that_came_out_otherwise_is_two() -> (
    None
):
    answers = table(TRUE, noisy(TRUE, 0.8, 1))
    again = training(answers, session="s2")
    contest = of(archive(training(answers)), archive(again)).contests[0]
    assert contest.entries[0].seeds == (1,)
    assert contest.notes == (
        "s2/j0001 repeats s1/j0001 with the same predictions, and counts once.",
    )
    other = training(table(TRUE, noisy(TRUE, 0.8, 2)), session="s2")
    (contest,) = of(archive(training(answers)), archive(other)).contests
    assert {entry.name for entry in contest.entries} == {"a (s1)", "a (s2)"}


def test_what_makes_models_unequal_is_noted() -> None:
    flat = [0.5] * len(TRUE)
    answers = [table(TRUE, noisy(TRUE, 0.8, i), good=flat, bad=flat) for i in range(3)]
    made = [
        training(answers[0], model="org/a", seed=1, val=0.9),
        training(answers[1], model="org/b", seed=1, val=0.5),
        training(answers[2], model="org/b", seed=2, val=0.5),
    ]
    failed = training(None, model="org/a", seed=2, task=made[0].job.task)
    failed = replace(failed, job=replace(failed.job, id="j0002"))

    found = of(archive(*made, failed))

    (contest,) = found.contests
    assert [refusal.trainings for refusal in found.refusals] == [("s1/j0002",)]
    assert [entry.name for entry in contest.entries] == ["b", "a"]
    assert [entry.complete for entry in contest.entries] == [True, False]
    assert contest.notes == (
        "a is incomplete and comes last: 1 of 2 trainings without a result.",
        "Models were trained with unequal numbers of seeds: b 2, a 1.",
    )


def test_models_chosen_on_other_validation_rows_are_pointed_out() -> None:
    def made(name: str, rows: range) -> Made:
        chosen_on = table(["good"] * 10, ["good"] * 10, rows=rows, part="validation")
        test = table(TRUE, noisy(TRUE, 0.8, 1))
        import pandas as pd

        return training(pd.concat([chosen_on, test]), model=name)

    contest = only(made("org/a", range(200, 210)), made("org/b", range(300, 310)))
    assert contest.notes == (
        "Validation rows differ between trainings: the order is not by the same rows for all.",
    )


def test_a_training_without_test_rows_or_result_or_readable_predictions_is_refused() -> None:
    class Damaged(Made):
        def predictions(self) -> None:
            raise StudioError("predictions.parquet cannot be read.")

    good = training(table(TRUE, noisy(TRUE, 0.8, 1)))
    untested = training(table(TRUE, TRUE, part="validation"), model="org/b")
    waiting = training(None, model="org/c", task=good.job.task)
    damaged = training(table(TRUE, TRUE), model="org/d")
    damaged = Damaged(**{name: getattr(damaged, name) for name in Made.__dataclass_fields__})

    found = of(archive(good, untested, waiting, damaged))

    assert [[e.name for e in c.entries] for c in found.contests] == [["a"]]
    assert sorted(refusal.reason for refusal in found.refusals) == [
        "It has no result.",
        "It has no test rows.",
        "predictions.parquet cannot be read.",
    ]


def test_categories_and_scopes_have_contests_of_their_own() -> None:
    def made(key: str, value: str, language: str) -> Made:
        task = Task(key, value, ("bad", "good"))
        return training(table(TRUE, noisy(TRUE, 0.8, 1)), task=task, language=language)

    found = of(
        archive(made("tone", "yes", "EN"), made("irony", "yes", "EN"), made("tone", "yes", "FR"))
    )
    assert [(c.category, c.language) for c in found.contests] == [
        ("tone=yes", "EN"),
        ("irony=yes", "EN"),
        ("tone=yes", "FR"),
    ]
    chosen = compare(
        [archive(made("tone", "", "EN"), made("irony", "", "EN"))],
        categories=["irony"],
        repetitions=50,
    )
    assert [contest.category for contest in chosen.contests] == ["irony"]


def test_each_language_has_an_interval_and_so_has_the_gap_between_best_and_worst() -> None:
    languages = ["EN", "FR", ""] * 40
    answers = [
        t if language != "FR" else other
        for t, language, other in zip(TRUE, languages, noisy(TRUE, 0.2, 1), strict=True)
    ]
    (entry,) = only(training(table(TRUE, answers, languages=languages))).entries

    english, french = entry.languages
    own = [i for i, language in enumerate(languages) if language == "FR"]
    value = f1_score([TRUE[i] for i in own], [answers[i] for i in own], average="macro")
    assert (english.language, english.items, english.f1_macro.value) == ("EN", 40, 1.0)
    assert (french.language, french.items) == ("FR", 40)
    assert french.f1_macro.value == pytest.approx(value)
    assert english.f1_macro.low > french.f1_macro.high
    assert entry.gap
    assert (entry.gap.best, entry.gap.worst) == ("EN", "FR")
    assert entry.gap.difference.value == pytest.approx(1 - value)
    assert 0 < entry.gap.difference.low < entry.gap.difference.high


def test_a_gap_picked_out_of_more_languages_is_less_sure() -> None:
    answers = noisy(TRUE, 0.7, 1)
    two = [("EN", "FR")[i % 2] for i in range(120)]

    def gap(languages: list[str]) -> Gap:
        (entry,) = only(training(table(TRUE, answers, languages=languages))).entries
        assert entry.gap
        return entry.gap

    plain = gap(two)
    third = [("bad", "bad")] * 3 + [("good", "good")] * 3 + [("good", "bad")]
    wider = only(
        training(
            table(
                [*TRUE, *(true for true, _ in third)],
                [*answers, *(answer for _, answer in third)],
                languages=[*two, *["NL"] * len(third)],
            )
        )
    ).entries[0]
    assert wider.gap
    named = {result.language: result.f1_macro.value for result in wider.languages}
    assert sorted(named, key=lambda name: named[name])[1] == "NL"
    assert (wider.gap.best, wider.gap.worst) == (plain.best, plain.worst)
    assert wider.gap.difference.value == pytest.approx(plain.difference.value)
    # At 1 - 0.05 / 3 a normal interval is 2.39 in place of 1.96 standard errors wide.
    grown = width(wider.gap.difference) / width(plain.difference)
    assert grown == pytest.approx(2.394 / 1.96, rel=0.03)


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_the_same_sessions_give_the_same_comparison_and_other_contests_do_not_change_it() -> None:
    a = training(table(TRUE, noisy(TRUE, 0.8, 1)), model="org/a")
    b = training(table(TRUE, noisy(TRUE, 0.7, 2)), model="org/b")
    task = Task("topic", "", ("bad", "good"))
    other = training(table(TRUE, noisy(TRUE, 0.7, 3)), task=task)
    first, second = of(archive(a, b)), of(archive(other, a, b))
    assert first.contests[0] == second.contests[1]
    assert of(archive(a, b)) == first


def own_models(
    share: dict[str, float], *, shared: int = 0, names: dict[str, str] | None = None
) -> list[Training]:
    """Return a training for each language, on its own rows, right in a share of them."""
    trainings = []
    for place, (language, right) in enumerate(share.items()):
        rows = range(place * (len(TRUE) - shared), place * (len(TRUE) - shared) + len(TRUE))
        predicted = table(TRUE, noisy(TRUE, right, place), rows=rows, languages=[language] * 120)
        model = (names or {}).get(language, "org/a")
        trainings.append(training(predicted, language=language, run=f"j{place}", model=model))
    return trainings


def test_languages_with_models_of_their_own_have_a_gap_of_independent_scores() -> None:
    found = of(archive(*own_models({"FR": 0.55, "EN": 0.9})))
    assert [contest.language for contest in found.contests] == ["FR", "EN"]
    (own,) = found.gaps
    assert [(one.language, one.name, one.items) for one in own.models] == [
        ("EN", "a", 120),
        ("FR", "a", 120),
    ]
    assert (own.gap.best, own.gap.worst) == ("EN", "FR")
    difference, scores = own.gap.difference, [one.f1_macro for one in own.models]
    assert difference.value == pytest.approx(scores[0].value - scores[1].value)
    # Variances of what is independent add up.
    wide = [(one.high - one.low) / 2 for one in scores]
    assert (difference.high - difference.low) / 2 == pytest.approx(np.hypot(*wide), rel=0.1)
    assert any("not of languages alone" in note for note in found.notes)


def test_the_draws_of_two_languages_have_nothing_in_common() -> None:
    answers = noisy(TRUE, 0.8, 1)
    trainings = [
        training(table(TRUE, answers, rows=range(start, start + 120), languages=[name] * 120),
                 language=name)
        for name, start in (("EN", 0), ("FR", 120))
    ]  # fmt: skip
    (own,) = of(archive(*trainings)).gaps
    # From the same draws the two would have the same score in each of them.
    difference = own.gap.difference
    wide = [(one.f1_macro.high - one.f1_macro.low) / 2 for one in own.models]
    assert difference.value == 0
    assert difference.high == pytest.approx(np.hypot(*wide), rel=0.1)


def test_of_rows_that_two_languages_share_and_of_one_language_there_is_no_gap() -> None:
    assert of(archive(*own_models({"EN": 0.9, "FR": 0.6}, shared=20))).gaps == ()
    assert of(archive(*own_models({"EN": 0.9}))).gaps == ()
    several = training(table(TRUE, TRUE, languages=["EN", "FR"] * 60))
    assert of(archive(several)).gaps == ()
