"""Models of finished sessions, compared on the test items that they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_tool.analysis.compare import Comparison, compare
from llm_tool.logs.archive import read_session
from tests.conftest import FINISHED


@pytest.fixture(scope="module")
def compared(finished: Path) -> Comparison:
    return compare([read_session(finished / "training_logs", FINISHED)], repetitions=500)


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
