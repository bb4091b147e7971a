"""The benchmarks' short form: every way trains what it is given, and the tables add up."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import predict as prediction
from tests.benchmarks.corpus import mixed_texts, model_folder, token_count
from tests.benchmarks.scale import write_table
from tests.benchmarks.speed import table
from tests.benchmarks.ways import Measured, Work, measure

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def work() -> Work:
    """Return a training of eight short texts."""
    texts, labels = mixed_texts(40)
    short = sorted(zip(texts, labels, strict=True), key=lambda pair: len(pair[0]))
    chosen = [next(pair for pair in short if pair[1] == label) for label in sorted(set(labels))]
    rows = [*chosen, *short[:5]]
    part = [text for text, _ in rows], [label for _, label in rows]
    test = [f"{text} again" for text, _ in rows], part[1]
    return Work(part, test, model_folder(), batch_size=4)


@pytest.mark.parametrize("way", ["llm-tool", "Trainer", "Trainer, grouped by length"])
def test_every_way_trains_and_is_measured(work: Work, way: str) -> None:
    if way != "llm-tool":
        pytest.importorskip("accelerate", reason="the extra benchmark is not installed")
    taken = measure(way, replace(work, precision="float32"), threads=1)
    assert 0 < taken.seconds < taken.whole
    assert 0.1 < taken.peak_gb < 10
    assert 0 <= taken.f1_macro <= 1


def test_the_corpus_is_as_mixed_as_it_says() -> None:
    texts, labels = mixed_texts(400)
    lengths = [token_count([text]) for text in texts]
    assert 45 <= np.median(lengths) <= 57
    assert 200 <= np.percentile(lengths, 95) <= 270
    assert max(lengths) == 512
    assert (texts, labels) == mixed_texts(400)


def test_the_table_gives_medians_ratios_and_the_share_of_the_limit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = [Measured(seconds, 0.0, 1.0, 0.5) for seconds in (9.0, 10.0, 30.0)]
    theirs = [Measured(seconds, 0.0, 3.0, 0.5) for seconds in (90.0, 100.0, 300.0)]
    table({"ours": ours, "theirs": theirs}, tokens=10_000, limit=127.2e9, weights=10.6e6)
    row, other = capsys.readouterr().out.splitlines()[2:]
    assert row == "| ours | 10.0 (9.0–30.0) | 1,000 | 1.0 | 50% | 1.00 GB, 1.0 times |"
    assert other == "| theirs | 100.0 (90.0–300.0) | 100 | 10.0 | 5% | 3.00 GB, 3.0 times |"


def test_prediction_and_the_pipeline_say_the_same_of_the_same_texts(tmp_path: Path) -> None:
    model = prediction.classifier(tmp_path)
    data = prediction.write_table(tmp_path / "data.csv", prediction.short_texts(40))
    seconds, labels, _ = prediction.ours(model, data)
    others, expected, _ = prediction.pipeline(model, data)
    assert labels == expected
    assert len(set(labels)) > 1
    assert min(seconds, others) > 0


def test_the_table_of_many_labels_has_all_classes_in_every_column(tmp_path: Path) -> None:
    names = write_table(tmp_path / "data.csv", 60, 12)
    with (tmp_path / "data.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(names) == 12
    assert len(rows) == 60
    for name in names:
        values = [row[name] for row in rows]
        assert min(values.count(value) for value in set(values)) >= 10, name
