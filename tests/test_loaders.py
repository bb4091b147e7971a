"""Files as people have them: in every encoding, with every separator, and broken in every way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.data.loaders import FORMATS, Table, read_table
from llm_tool.errors import StudioError

Write = Callable[..., Path]
REAL = Path(__file__).parents[2] / "shared" / "data"


def rows(table: Table) -> list[list[object]]:
    return [table.frame.columns.tolist(), *table.frame.to_numpy().tolist()]


def refusal(path: Path, **options: str) -> tuple[str, str, str]:
    """Return what is wrong, where (the folder left out), and what to do."""
    with pytest.raises(StudioError) as caught:
        read_table(path, **options)
    where = caught.value.where.replace(str(path.parent), "").lstrip("/\\")
    return caught.value.what, where, caught.value.remedy


@pytest.mark.parametrize(
    ("name", "raw", "how"),
    [
        ("a.csv", "text,label\né;a,b\n".encode(), "comma-separated, UTF-8"),
        ("a.CSV", "text;label\né;b\n".encode(), "semicolon-separated, UTF-8"),
        ("a.tsv", "text\tlabel\né\tb\n".encode(), "tab-separated, UTF-8"),
        ("a.txt", "text|label\né|b\n".encode(), "bar-separated, UTF-8"),
        ("a.csv", "text,label\r\né,b\r\n".encode(), "comma-separated, UTF-8"),
        ("a.csv", "text,label\ré,b\r".encode(), "comma-separated, UTF-8"),
        ("a.csv", "text,label\né,b\n".encode("utf-8-sig"), "comma-separated, UTF-8"),
        ("a.csv", "text,label\né,b\n".encode("utf-16"), "comma-separated, UTF-16"),
        ("a.csv", b"text,label\n\xe9,b\n", "comma-separated, Windows-1252 (not UTF-8)"),
        ("a.csv", b"text,label\n\xe9,\x81\n", "comma-separated, Latin-1 (not UTF-8)"),
        ("a.jsonl", '{"text": "é", "label": "b"}\n'.encode(), "JSON Lines, UTF-8"),
        ("a.ndjson", '{"text": "é", "label": "b"}'.encode("utf-16"), "JSON Lines, UTF-16"),
    ],
)
def test_encoding_and_separator_are_detected_and_said(
    write: Write, name: str, raw: bytes, how: str
) -> None:
    table = read_table(write(name, raw))
    assert table.how == how
    assert table.frame.columns.tolist() == ["text", "label"]
    assert table.frame["text"].tolist()[0].startswith("é")


def test_windows_1252_quotes_are_read_as_they_were_typed(write: Write) -> None:
    table = read_table(write("a.csv", "text,label\n“déjà” – 5 €,b\n".encode("cp1252")))
    assert rows(table) == [["text", "label"], ["“déjà” – 5 €", "b"]]


def test_commas_in_texts_do_not_hide_the_semicolons_between_columns(write: Write) -> None:
    lines = "text;label\n" + "one, two, three;a\n" * 5
    assert rows(read_table(write("a.csv", lines)))[1] == ["one, two, three", "a"]


def test_a_named_encoding_and_separator_win_over_what_is_detected(write: Write) -> None:
    path = write("a.csv", b"text;a,label\n5 \xa4;x,b\n")
    table = read_table(path, encoding="iso8859-15", delimiter=";")
    assert table.how == "semicolon-separated, iso8859-15"
    assert rows(table) == [["text", "a,label"], ["5 €", "x,b"]]
    assert read_table(path, delimiter=",").frame.columns.tolist() == ["text;a", "label"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_the_mark_at_the_start_is_no_part_of_the_first_column_s_name(
    write: Write, encoding: str
) -> None:
    path = write("a.csv", "\ufefftext,label\né,b\n".encode(encoding))
    table = read_table(path, encoding=encoding)
    assert rows(table) == [["text", "label"], ["é", "b"]]


def test_utf_16_without_a_mark_is_read_when_it_is_clear_or_named(write: Write) -> None:
    path = write("a.csv", "text,label\na,b\n".encode("utf-16-le"))
    assert read_table(path).how == "comma-separated, UTF-16-LE (detected)"
    assert rows(read_table(path, encoding="utf-16-le")) == [["text", "label"], ["a", "b"]]
    path = write("b.csv", "たいへんよい,b\n".encode("utf-16-le") * 9)
    assert refusal(path)[0] == "This is a binary file although its name ends in .csv."
    assert len(read_table(path, encoding="utf-16-le").frame) == 8


def test_mixed_encodings_name_a_line_of_each(write: Write) -> None:
    assert refusal(write("a.csv", b"text\nplain\ncaf\xc3\xa9\nx\nca\xe9\n")) == (
        "The file mixes encodings: line 3 is UTF-8, line 5 is not.",
        "a.csv",
        "Save it as UTF-8, or force one encoding with --encoding cp1252.",
    )


def test_a_mark_of_utf_8_before_other_bytes_names_a_line_of_each(write: Write) -> None:
    what = refusal(write("a.csv", b"\xef\xbb\xbftext\nok\nca\xe9\n"))[0]
    assert what == "The file mixes encodings: line 1 is UTF-8, line 3 is not."


@pytest.mark.parametrize("name", ["klingon", "hex", "rot13", "undefined", "a\0b"])
def test_an_unknown_encoding_is_refused_with_those_that_are_common(write: Write, name: str) -> None:
    what, *rest = refusal(write("a.csv", "text\né\n"), encoding=name)
    assert what.startswith("There is no encoding '")
    assert rest == ["--encoding", "Try utf-8, cp1252 or utf-16."]


def test_a_wrong_encoding_names_the_first_line_that_does_not_fit(write: Write) -> None:
    assert refusal(write("a.csv", "text\na\né\n"), encoding="ascii") == (
        "Line 3 is not ascii.",
        "a.csv, line 3",
        "Leave out --encoding to have it detected.",
    )


def test_a_cut_utf_16_file_is_refused(write: Write) -> None:
    what = refusal(write("a.csv", "text\na\n".encode("utf-16")[:-1]))[0]
    assert what == "The file starts as UTF-16 but is not."


@pytest.mark.parametrize("delimiter", ["tab", "\\t", "\t"])
def test_a_tab_can_be_named(write: Write, delimiter: str) -> None:
    table = read_table(write("a.csv", "a,b\tc\n1,2\t3\n"), delimiter=delimiter)
    assert list(table.frame.columns) == ["a,b", "c"]


@pytest.mark.parametrize("delimiter", [";;", "tabs", "\n", '"'])
def test_a_separator_is_one_character(write: Write, delimiter: str) -> None:
    what, where, remedy = refusal(write("a.csv", "a,b\n1,2\n"), delimiter=delimiter)
    assert what.endswith(" cannot separate columns.")
    assert (where, remedy[:18]) == ("--delimiter", "Give one character")


@pytest.mark.parametrize(
    ("name", "raw", "what"),
    [
        ("a.csv", b"PK\x03\x04\x14\0\x06\0", "an Excel or ZIP file"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file"),
        ("a.tsv", gzip.compress(b"text,label\n", mtime=0), "a gzip file"),
        ("a.csv", b"%PDF-1.7\n", "a PDF"),
        ("a.csv", b"PAR1\x15\x04\x15", "a Parquet file"),
        ("a.csv", b"\n<!DOCTYPE html>\n", "a web page"),
        ("a.jsonl", b"\xef\xbb\xbf<!doctype html>", "a web page"),
        ("a.csv", b"<HTML><body>", "a web page"),
        ("a.csv", b'<?xml version="1.0"?>', "an XML file"),
        ("a.csv", b"text\0label\n", "a binary file"),
        ("a.csv", b'{"text": "a"}\n{"text": "b"}\n', "JSON"),
        ("a.csv", b'[{"text": "a"}, {"text": "b"}]', "JSON"),
        ("a.txt", b'[\n  {"text": "a", "label": "b"},\n  {"text": "b"}\n]', "JSON"),
    ],
)
def test_a_file_that_is_not_what_its_ending_says_is_named(
    write: Write, name: str, raw: bytes, what: str
) -> None:
    said, where, remedy = refusal(write(name, raw))
    assert said == f"This is {what} although its name ends in {name[1:]}."
    assert where == name
    assert "CSV (UTF-8)" in remedy or "ends in .jsonl" in remedy


def test_a_header_may_look_a_little_like_json_or_parquet(write: Write) -> None:
    table = read_table(write("a.csv", "PAR1,[red]\n1,2\n"))
    assert rows(table) == [["PAR1", "[red]"], ["1", "2"]]


@pytest.mark.parametrize(
    ("content", "line", "remedy"),
    [
        ("text,label\na,b\n", 1, "one complete JSON object on each line"),
        ('[{"text": "a"}]', 1, "Write one object a line"),
        ('{"text": "a"}\n\n{"text": \n', 3, "one complete JSON object on each line"),
        ("[" * 100_000, 1, "one complete JSON object on each line"),
        ('{"n": ' + "9" * 5_000 + "}", 1, "one complete JSON object on each line"),
    ],
)
def test_a_line_that_is_no_json_object_is_named(
    write: Write, content: str, line: int, remedy: str
) -> None:
    what, where, said = refusal(write("a.jsonl", content))
    assert what.startswith(f"Line {line} is not ")
    assert where == f"a.jsonl, line {line}"
    assert remedy in said


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "The file is empty."),
        (" \n\n", "The file is empty."),
        ("text,label\n", "The file has a header but no rows."),
    ],
)
def test_a_file_without_rows_is_refused(write: Write, content: str, what: str) -> None:
    assert refusal(write("a.csv", content)) == (what, "a.csv", "Choose a file with rows.")


def test_a_missing_file_shows_the_tables_that_are_there(write: Write, tmp_path: Path) -> None:
    write("tweets.csv", "text\na\n")
    write("notes.md", "")
    assert refusal(tmp_path / "tweet.csv") == (
        "The file does not exist.",
        "tweet.csv",
        "In that folder are: tweets.csv.",
    )


def test_a_folder_and_an_unusable_name_are_no_tables(tmp_path: Path) -> None:
    assert refusal(tmp_path)[0] == "This is a folder, not a file."
    assert refusal(tmp_path / "a\0.csv")[0].startswith("The file cannot be read: ")


@pytest.mark.parametrize(("name", "shown"), [("a.doc", ".doc"), ("a", "nothing")])
def test_an_unknown_ending_lists_the_known_ones(write: Write, name: str, shown: str) -> None:
    assert refusal(write(name, "text\na\n")) == (
        f"Files that end in '{shown}' are not understood.",
        name,
        f"Save the table as one of {', '.join(FORMATS)}.",
    )


@pytest.mark.parametrize(
    ("content", "what", "row"),
    [
        ("a,b\n1,2\n1,2,3\n", "Row 3 has 3 cells where the header has 2.", 3),
        ("a,b\n1\n1,2\n1\n", "Row 2 has 1 cell where the header has 2. In all, 2 rows differ.", 2),
        ('a,b\n"two\nlines",2\n\n1,2\n1,2,3\n', "Row 5 has 3 cells where the header has 2.", 5),
        ('a,b,c\n1,2,3\n1,"2,3\n1,2,3\n', "A quoted cell in row 3 never ends.", 3),
        ('label,text\na,"good\nb,bad\na,fine\n', "A quoted cell in row 2 never ends.", 2),
        ("a,b, a\n1,2,3\n", "The column 'a' occurs 2 times.", 1),
    ],
)
def test_a_row_that_does_not_fit_is_named_by_its_number(
    write: Write, content: str, what: str, row: int
) -> None:
    said, where, remedy = refusal(write("a.csv", content))
    assert (said, where) == (what, f"a.csv, row {row}")
    assert remedy


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the public data sets are not in {REAL}")
@pytest.mark.parametrize(
    ("name", "columns", "count"),
    [
        ("sentiment_en_fr_es.csv", "text sentiment lang split", 9_099),
        ("clinc150_small.csv", "text domain intent split", 15_000),
        ("emotions_multilabel.jsonl", "id text emotions polarity lang split", 12_000),
    ],
)
def test_published_tables_are_read_whole(name: str, columns: str, count: int) -> None:
    table = read_table(REAL / name)
    assert table.frame.columns.tolist() == columns.split()
    assert len(table.frame) == len(set(table.row_numbers)) == count
    json.dumps(table.frame.to_numpy().tolist()).encode("utf-8")
