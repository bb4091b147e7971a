"""What holds for all formats: rows are found again, extras are named, memory has its bounds."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from llm_tool.config import make_config
from llm_tool.data.dataset import data_sha256, load_dataset, open_table
from llm_tool.data.loaders import FORMATS, Table, format_of, read_table
from llm_tool.data.readers import source as sources
from llm_tool.data.readers.source import PACKINGS
from llm_tool.errors import StudioError
from llm_tool.studio import runs
from llm_tool.studio.ask_data import found_files
from tests.awkward import CASES
from tests.awkward.case import FRENCH, PLAIN, RUSSIAN, folder_of, table_of
from tests.awkward.delimited import DELIMITED
from tests.awkward.writers import spss, workbook
from tests.benchmarks.reading import write_table

Write = Callable[..., Path]
_ENCODINGS = "BOM UTF-16 UTF-16-unmarked UTF-32-unmarked Windows-1252 Windows-1251 Shift-JIS Mac"
_FAULTS = """
    stray-quote-pair unterminated-quote ragged empty header-only duplicate-columns NUL sep=
    control-characters trailing-delimiters blank-lines mixed-encodings JSON-broken JSON-no-table
    JSON-duplicate-key JSONL-broken password csv-as-xlsx xlsx-as-csv HTML-as-xls formula-errors
    user-missing damaged-gzip damaged-ZIP bomb LFS PDF pickle folder-no-parts
"""


def test_there_are_awkward_files_of_every_format_packing_encoding_and_fault() -> None:
    covered = " ".join(case.covers for case in CASES).split()
    endings = {suffix.lower() for case in CASES for suffix in Path(case.name).suffixes}
    never_written = {".xlsm", ".zsav"}  # as .xlsx and .sav inside

    assert len(CASES) >= 40
    assert set(FORMATS) - never_written <= endings
    assert set(PACKINGS) <= endings
    assert set(FORMATS.values()) <= {FORMATS.get(Path(c.name).suffix.lower()) for c in CASES}
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(_FAULTS.split()) | set(_ENCODINGS.split()) <= set(covered)


@pytest.mark.parametrize("name", ["book.xlsm", "survey.zsav"])
def test_other_endings_of_workbooks_and_surveys_are_read_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    (workbook({"S": [["text"], ["été"]]}) if name == "book.xlsm" else spss)(path)
    assert read_table(path).frame["text"].tolist()[0] == "été"


@pytest.mark.parametrize(
    ("module", "name", "raw", "what", "extra"),
    [
        ("python_calamine", "a.xlsx", b"PK\x03\x04", "Excel", "excel"),
        ("rdata", "a.rds", b"X\n", "R", "r"),
        ("pyreadstat", "a.sav", b"$FL2", "SPSS", "stats"),
        ("pyreadstat", "a.dta", b"<stata_dta>", "Stata", "stats"),
        ("pyreadstat", "a.xpt", b"HEADER", "SAS", "stats"),
    ],
)
def test_a_missing_reader_names_the_extra(
    write: Write, monkeypatch: pytest.MonkeyPatch, module: str, name: str, raw: bytes,
    what: str, extra: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StudioError) as caught:
        read_table(write(name, raw))
    assert caught.value.what == f"Reading {what} files takes the extra '{extra}'."
    assert caught.value.remedy == f'pip install "llm-tool[{extra}]"'


def numbers(table: Table) -> list[int]:
    return list(table.row_numbers)


def test_row_numbers_are_those_that_the_user_s_program_shows(write: Write, tmp_path: Path) -> None:
    rows = [[], [], ["text", "label"], ["a", "b"], [], ["c", "d"]]
    workbook({"S": rows})(tmp_path / "a.xlsx")
    spss(tmp_path / "a.sav")

    assert numbers(read_table(tmp_path / "a.xlsx")) == [4, 6]
    assert numbers(read_table(tmp_path / "a.sav")) == [1, 2, 3]
    assert numbers(read_table(write("a.csv", b"sep=;\na;b\n1;2\n"))) == [2]
    assert numbers(read_table(write("a.jsonl", b'{"a": 1}\n\n{"a": 2}\n'))) == [1, 3]
    assert numbers(read_table(write("a.json", b'[{"a": 1}, {"a": 2}]'))) == [1, 2]


def test_rows_of_a_folder_are_named_by_their_file(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    test = b"text,label\nfine,pos\n,neg\n"
    folder_of(train_csv=PLAIN + b"so so,\n", test_csv=test)(folder)
    table = read_table(folder)
    dataset = load_dataset(make_config({"data": str(folder), "label": "label"}))

    assert [table.row_name(i) for i in range(5)] == [
        "test.csv 2", "test.csv 3", "train.csv 2", "train.csv 3", "train.csv 4",
    ]  # fmt: skip
    assert table.place(4) == f"{folder / 'train.csv'}, row 4"
    assert dataset.notes == ("1 row (test.csv 3) left out: no text.",)
    assert dataset.ids == ("test.csv 2", "train.csv 2", "train.csv 3", "train.csv 4")
    assert dataset.parts == ("test", "train", "train", "train")


def test_files_of_one_part_in_pieces_are_read_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("train-00001-of-2", "train-00002-of-2", "test-00001-of-1"):
        (folder / f"{name}.csv").write_text(f"text\n{name}\n", "utf-8")
    table = read_table(folder)

    assert table.frame["split"].tolist() == ["test", "train", "train"]
    assert table.frame["text"].tolist()[1:] == ["train-00001-of-2", "train-00002-of-2"]


def test_a_split_column_that_says_something_else_than_the_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder_of(train_csv=b"text,split\na,train\n", test_csv=b"text,split\na,dev\n")(folder)
    with pytest.raises(StudioError, match="The column 'split' says something else") as caught:
        read_table(folder)
    assert caught.value.where == f"{folder}, test.csv"


def test_the_hash_is_of_the_file_as_it_lies_there_and_of_all_files_of_a_folder(
    write: Write, tmp_path: Path
) -> None:
    packed = write("a.csv.gz", gzip.compress(PLAIN))
    folder = tmp_path / "parts"
    folder_of(train_csv=PLAIN, test_csv=PLAIN)(folder)
    for path in (packed, folder):
        table = read_table(path)
        assert data_sha256(make_config({"data": str(path)})) == table.sha256
    (folder / "notes.txt").write_text("not a part", "utf-8")
    assert read_table(folder).sha256 == table.sha256
    (folder / "test.csv").write_bytes(PLAIN + b"a,b\n")
    assert read_table(folder).sha256 != table.sha256
    assert data_sha256(make_config({"data": str(tmp_path / "none")})) == ""


def test_the_sheet_of_the_configuration_is_read_and_is_in_the_command(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    workbook({"One": [["text"], ["a"]], "Two": [["text"], ["b"]]})(path)
    config = make_config({"data": str(path), "sheet": "2"})

    assert open_table(config).frame["text"].tolist() == ["b"]
    assert config.command()[-2:] == ["--sheet", "2"]
    assert open_table(make_config({"data": str(path)})).frame["text"].tolist() == ["a"]


def test_names_of_sheets_and_members_print_nothing_unsafe(tmp_path: Path) -> None:
    workbook({"\x9b2Jé": [["text"], ["a"]]})(tmp_path / "a.xlsx")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("\x1b[2J.csv", PLAIN)

    assert read_table(tmp_path / "a.xlsx").how == r"Excel, sheet '\x9b2Jé'"
    assert read_table(tmp_path / "a.zip").how == (r"comma-separated, UTF-8, '\x1b[2J.csv' in ZIP")


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_rows_are_the_same_whatever_the_size_of_the_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    whole = {}
    for case in DELIMITED:
        if case.error is None:
            whole[case.name] = read_table(case.make(tmp_path))
    monkeypatch.setattr("llm_tool.data.readers.delimited._PIECE", pieces)
    for name, table in whole.items():
        again = read_table(tmp_path / name)
        assert again.frame.equals(table.frame)
        assert numbers(again) == numbers(table)


@pytest.mark.parametrize("block", [1, 3])
def test_an_encoding_is_the_same_whatever_the_size_of_the_blocks(
    write: Write, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("llm_tool.data.readers.decoding._BLOCK", block)
    monkeypatch.setattr(sources, "_BLOCK", 16)
    for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"):
        table = read_table(write(f"{codec}.csv", table_of(FRENCH).encode(codec)))
        assert table.frame["text"].tolist() == list(FRENCH)


def test_few_letters_beyond_ascii_are_read_as_western_ones(write: Write) -> None:
    raw = "text,label\nТы,a\nplain,b\n".encode("cp1251")
    assert read_table(write("a.csv", raw)).how == "comma-separated, Windows-1252 (not UTF-8)"


def test_a_line_that_is_utf_8_by_accident_does_not_make_a_russian_file_mixed(write: Write) -> None:
    raw = table_of((*RUSSIAN, "Рё")).encode("cp1251")
    assert "Рё".encode("cp1251").decode("utf-8") == "и"
    assert read_table(write("a.csv", raw)).frame["text"].tolist() == [*RUSSIAN, "Рё"]


def test_a_file_of_two_encodings_is_mixed_however_much_of_each_there_is(write: Write) -> None:
    lines = [text.encode(codec) for text in FRENCH * 9 for codec in ("cp1252", "utf-8")]
    with pytest.raises(StudioError) as caught:
        read_table(write("a.csv", b"text\n" + b"\n".join(lines)))
    assert caught.value.what == "The file mixes encodings: line 3 is UTF-8, line 2 is not."


def test_a_sheet_is_refused_where_there_is_one_table(write: Write) -> None:
    with pytest.raises(StudioError) as caught:
        read_table(write("a.csv", PLAIN), sheet="One")
    assert caught.value.what == "There is one table in a file that ends in .csv, and no choice."
    assert caught.value.remedy == "Leave out --sheet."


def test_progress_goes_to_the_end_of_the_file_as_it_lies_there(write: Write) -> None:
    packed = gzip.compress(b"text,label\n" + b"".join(b"%d,a\n" % i for i in range(100_000)))
    for path in (write("a.csv.gz", packed), write("a.jsonl", b'{"text": "a"}\n' * 200_000)):
        seen: list[tuple[int, int]] = []
        read_table(path, on_progress=lambda done, total, seen=seen: seen.append((done, total)))
        size = path.stat().st_size
        assert seen[-1] == (size, size)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_memory_for_a_big_table_is_little_more_than_its_texts(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    write_table(path, 20_000)
    read_table(path)  # imports
    tracemalloc.start()
    table = read_table(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # The texts, with Python's 70 bytes each and a pointer a cell; the labels are kept once.
    texts = sum(sys.getsizeof(cell) for name in ("id", "text") for cell in table.frame[name])
    assert peak < 1.3 * (texts + 8 * 2 * table.frame.size) + 8e6
    assert len({id(cell) for cell in table.frame["topic"]}) == 20


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_progress_is_shown_on_a_terminal_once_reading_takes_longer_than_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, out = _Clock(), io.StringIO()
    monkeypatch.setattr(runs, "time", clock)
    console = Console(file=out, force_terminal=True, width=60)
    with runs.reading(console) as show:
        assert show is not None
        show(5, 100)
        assert out.getvalue() == ""
        clock.now = 2.0
        show(25, 100)
        show(50, 100)
    assert "Reading the table: 50%" in out.getvalue()
    with runs.reading(Console(file=io.StringIO())) as none:
        assert none is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.CSV", "CSV"), ("a.csv.gz", "CSV"), ("a.JSONL.zst", "JSON Lines"), ("a.xlsx", "Excel"),
        ("a.RData", "R"), ("a.zip", "ZIP"), ("a.gz", None), ("a.tar.gz", None), ("a", None),
    ],
)  # fmt: skip
def test_a_name_says_the_format(name: str, kind: str | None) -> None:
    assert format_of(name) == kind


def test_the_studio_offers_tables_of_all_formats(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.csv", "b.xlsx", "c.sav", "d.jsonl.gz", "e.parquet", "f.zip"]
    for name in (*names, "notes.txt", "notes.md", "g.gz", "h.tar.gz"):
        write(name, b"")
    monkeypatch.chdir(tmp_path)
    assert sorted(map(str, found_files())) == names


def test_the_short_form_of_the_benchmark_writes_what_is_read(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl", "a.csv.gz"):
        write_table(tmp_path / name, 50)
        table = read_table(tmp_path / name)
        assert table.frame.shape == (50, 6)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [row[1] for row in csv.reader(file)][1:] == table.frame["text"].tolist()
