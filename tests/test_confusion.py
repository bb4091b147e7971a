from __future__ import annotations

from pathlib import Path

import numpy as np

from llm_tool.analysis.confusion import confusion
from llm_tool.logs.archive import read_session
from tests.conftest import FINISHED


def test_a_confusion_matrix_counts_true_classes_in_rows_and_predicted_ones_in_columns(
    finished: Path,
) -> None:
    for training in read_session(finished / "training_logs", FINISHED).done:
        assert training.ended
        assert training.ended.test
        counts = np.array(confusion(training))

        table = training.predictions().query("part == 'test'")
        for i, true in enumerate(training.job.task.classes):
            for j, predicted in enumerate(training.job.task.classes):
                both = (table["true"] == true) & (table["predicted"] == predicted)
                assert counts[i, j] == both.sum()
        assert counts.sum(axis=1).tolist() == [c.support for c in training.ended.test.classes]


def test_a_part_without_rows_gives_zeros(finished: Path) -> None:
    training = read_session(finished / "training_logs", FINISHED).done[0]

    assert confusion(training, "train") == ((0, 0), (0, 0))
