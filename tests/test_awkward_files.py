"""Every file of ``awkward`` is read, or refused, exactly as it says there."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import load_dataset
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError
from tests.awkward import CASES
from tests.awkward.case import Case
from tests.awkward.labels import LABELS, Labelled


@pytest.mark.parametrize("case", [c for c in CASES if c.error is None], ids=lambda c: c.name)
def test_an_awkward_file_is_read_to_the_last_cell(case: Case, tmp_path: Path) -> None:
    table = read_table(case.make(tmp_path), **case.options)

    rows = [table.frame.columns.tolist(), *table.frame.to_numpy().tolist()]
    assert rows == case.rows
    assert (table.how, table.notes) == (case.how, case.notes)
    assert len(table.row_numbers) == len(table.frame) == len(case.rows) - 1
    assert all(type(cell) in (str, list) for row in rows for cell in row)


@pytest.mark.parametrize("case", [c for c in CASES if c.error], ids=lambda c: c.name)
def test_an_awkward_file_is_refused_with_what_is_wrong_where_and_what_to_do(
    case: Case, tmp_path: Path
) -> None:
    with pytest.raises(StudioError) as caught:
        read_table(case.make(tmp_path), **case.options)

    where = caught.value.where.replace(f"{tmp_path}/", "")
    assert (caught.value.what, where, caught.value.remedy) == case.error


@pytest.mark.parametrize("case", LABELS, ids=lambda c: c.name)
def test_labels_of_each_scheme_are_read_as_they_are_meant(case: Labelled, tmp_path: Path) -> None:
    dataset = load_dataset(make_config({"data": str(case.make(tmp_path))}))

    assert {name: list(key.values) for name, key in dataset.keys.items()} == case.keys
    assert (dataset.notes, dataset.parts) == (case.notes, case.parts)
