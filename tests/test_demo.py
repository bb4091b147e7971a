"""The main job as a new user meets it: the embedded texts, the embedded model, real training."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from llm_tool.logs import read_metrics

KEYS = ("specific_themes", "sentiment", "political_parties")


def demo_rows() -> list[dict[str, str]]:
    text = (resources.files("llm_tool.data") / "demo.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_the_embedded_texts_are_600_in_two_languages_each_with_its_labels() -> None:
    rows = demo_rows()

    assert list(rows[0]) == ["id", "text", "lang", *KEYS, "policy_areas"]
    assert Counter(row["lang"] for row in rows) == {"en": 300, "fr": 300}
    assert len({row["text"] for row in rows}) == len({row["id"] for row in rows}) == 600
    assert all(row[key] for row in rows for key in KEYS)
    assert {len({row[key] for row in rows}) for key in KEYS} == {5, 3}
    assert max(row["policy_areas"].count(";") for row in rows) == 2


@pytest.mark.timeout(600)
def test_the_demo_learns_three_categories_in_two_languages_well_above_the_majority_class(
    tmp_path: Path,
) -> None:
    program = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "llm_tool", "demo"])
print("KiB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout.rsplit("KiB", 1)[1]) < 2_000_000
    (session,) = (tmp_path / "training_logs").iterdir()
    for key in KEYS:
        (best,) = read_metrics(session / key / "best.csv").to_dict("records")
        counts = Counter(row[key] for row in demo_rows())
        share = max(counts.values()) / 600
        majority_f1_macro = 2 * share / (1 + share) / len(counts)
        assert best["test_f1_macro"] > 2.5 * majority_f1_macro
        assert best["f1_macro_low"] > 2 * majority_f1_macro
        assert best["EN_support"] > 30
        assert best["FR_support"] > 30


def test_the_configuration_that_ships_with_the_project_plans_the_demo(tmp_path: Path) -> None:
    config = Path(__file__).parents[1] / "configs" / "quick.yaml"
    command = ["train", "quick", "--config", str(config), "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-m", "llm_tool", *command], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "2 multi-class jobs" in done.stdout
    assert "EN       211" in done.stdout
