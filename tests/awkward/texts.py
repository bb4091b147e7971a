"""Encodings, and JSON in its shapes."""

from __future__ import annotations

from tests.awkward.case import (
    CHINESE,
    FRENCH,
    GREEK,
    JAPANESE,
    JSON_TABLES,
    PLAIN,
    POLISH,
    RUSSIAN,
    TWO,
    Case,
    encoded,
    rows_of,
    table_of,
)

ENCODINGS = [
    Case("bom.csv", b"\xef\xbb\xbf" + PLAIN, "BOM", "comma-separated, UTF-8", TWO),
    Case("marked.csv", PLAIN.decode().encode("utf-16"), "UTF-16", "comma-separated, UTF-16", TWO),
    Case(
        "unmarked.tsv",
        table_of(FRENCH, "\t").encode("utf-16-le"),
        "UTF-16-unmarked",
        "tab-separated, UTF-16-LE (detected)",
        rows_of(FRENCH),
    ),
    Case(
        "unmarked-32.csv",
        table_of(FRENCH).encode("utf-32-le"),
        "UTF-32-unmarked",
        "semicolon-separated, UTF-32-LE (detected)",
        rows_of(FRENCH),
    ),
    encoded("french.csv", FRENCH, "cp1252", "Windows-1252 (not UTF-8)"),
    encoded("french-mac.csv", FRENCH, "mac_roman", "Mac Roman (detected)"),
    encoded("euro.csv", ("5 € l'été", "très cher"), "iso8859-15", "ISO-8859-15 (detected)"),
    encoded("russian.csv", RUSSIAN, "cp1251", "Windows-1251 (detected)"),
    encoded("russian-unix.csv", RUSSIAN, "koi8-r", "KOI8-R (detected)"),
    encoded("polish.csv", POLISH, "cp1250", "Windows-1250 (detected)"),
    encoded("greek.csv", GREEK, "cp1253", "Windows-1253 (detected)"),
    encoded("japanese.csv", JAPANESE, "shift-jis", "Shift-JIS (detected)"),
    encoded("chinese.csv", CHINESE, "gb18030", "GB18030 (detected)"),
    Case(
        "named.csv",
        table_of(POLISH).encode("iso8859-2"),
        "named-encoding",
        "semicolon-separated, iso8859-2",
        rows_of(POLISH),
        options={"encoding": "iso8859-2"},
    ),
    Case(
        "mixed.csv",
        PLAIN + "été,pos\n".encode() + "déçu,neg\n".encode("cp1252"),
        "mixed-encodings",
        error=(
            "The file mixes encodings: line 4 is UTF-8, line 5 is not.",
            "mixed.csv",
            "Save it as UTF-8, or force one encoding with --encoding cp1252.",
        ),
    ),
    Case(
        "cut.csv",
        PLAIN.decode().encode("utf-16")[:-1],
        "cut",
        error=(
            "The file starts as UTF-16 but is not.",
            "cut.csv",
            "Save it as UTF-8, or name its encoding with --encoding.",
        ),
    ),
]

JSON = [
    Case(
        "array.json",
        b'[{"text": "a good film", "label": "pos"},\n {"text": "a bad one", "label": "neg"}]',
        "JSON",
        "JSON, UTF-8",
        TWO,
    ),
    Case(
        "columns.json",
        b'{"text": ["a good film", "a bad one"], "label": ["pos", "neg"]}',
        "JSON-columns",
        "JSON, UTF-8",
        TWO,
    ),
    Case(
        "from-pandas.json",
        b'{"text":{"0":"a good film","1":"a bad one"},"label":{"0":"pos","1":"neg"}}',
        "JSON-columns",
        "JSON, UTF-8",
        TWO,
    ),
    Case(
        "by-index.json",
        b'{"7":{"text":"a good film","label":"pos"},"9":{"text":"a bad one","label":"neg"}}',
        "JSON-index",
        "JSON, UTF-8",
        TWO,
    ),
    Case(
        "split.json",
        b'{"columns":["text","label"],"index":[0,1],'
        b'"data":[["a good film","pos"],["a bad one","neg"]]}',
        "JSON-split",
        "JSON, UTF-8",
        TWO,
    ),
    Case(
        "wrapped.json",
        b'{"version": 2, "data": [{"text": "a good film", "label": "pos"},'
        b'{"text": "a bad one", "label": "neg"}]}',
        "JSON-wrapped",
        "JSON, UTF-8",
        TWO,
    ),
    Case(
        "lines.json",
        b'{"text": "a good film", "label": "pos"}\n{"text": "a bad one", "label": "neg"}\n',
        "JSONL-as-JSON",
        "JSON Lines, UTF-8",
        TWO,
    ),
    Case(
        "one.json",
        b'{"text": "a good film", "label": "pos"}',
        "JSON-no-table",
        error=("This JSON is not a table.", "one.json", JSON_TABLES),
    ),
    Case(
        "broken.json",
        b'[{"text": "a good film"},\n{"text": }]',
        "JSON-broken",
        error=(
            "This is not JSON: Expecting value: line 2 column 10 (char 35)",
            "broken.json, line 2",
            JSON_TABLES,
        ),
    ),
    Case(
        "array.csv",
        b'[\n{"text": "a good film", "label": "pos"}\n]',
        "JSON-other-ending",
        error=(
            "This is JSON although its name ends in .csv.",
            "array.csv",
            "Rename it so that it ends in .json; or, if it has one object a line, so that it ends "
            "in .jsonl.",
        ),
    ),
    Case(
        "nested.jsonl",
        b'{"text": "x", "labels": {"tone": "pos", "n": 1}, "tags": ["a", null, 2]}\n\n'
        b'{"text": "y", "labels": {"tone": null, "deep": {"k": [1]}}, "ok": true, "f": 1.0}\n',
        "JSONL JSON-nested",
        "JSON Lines, UTF-8",
        [
            ["text", "tone", "n", "tags", "deep", "ok", "f"],
            ["x", "pos", "1", ["a", "2"], "", "", ""],
            ["y", "", "", "", '{"k": [1]}', "true", "1.0"],
        ],
    ),
    Case(
        "broken.jsonl",
        b'{"text": "a"}\n{"text": "b"\n{"text": "c"}\n',
        "JSONL-broken",
        error=(
            "Line 2 is not JSON: Expecting ',' delimiter: line 1 column 13 (char 12)",
            "broken.jsonl, line 2",
            "JSON Lines has one complete JSON object on each line.",
        ),
    ),
    Case(
        "twice.ndjson",
        b'{"text": "a", "label": "x", "label": "y"}\n',
        "JSON-duplicate-key",
        error=(
            "Line 1 is not JSON: a key occurs twice",
            "twice.ndjson, line 1",
            "JSON Lines has one complete JSON object on each line.",
        ),
    ),
]
