"""Tables with separators, and everything that can be wrong with them."""

from __future__ import annotations

from tests.awkward.case import NO_ROWS, PLAIN, RAGGED, SAVE_CSV, TWO, Case

DELIMITED = [
    Case("plain.csv", PLAIN, "CSV UTF-8", "comma-separated, UTF-8", TWO),
    Case("plain.tsv", PLAIN.replace(b",", b"\t"), "TSV", "tab-separated, UTF-8", TWO),
    Case("bar.txt", PLAIN.replace(b",", b"|"), "bar", "bar-separated, UTF-8", TWO),
    Case(
        "semicolon.csv", PLAIN.replace(b",", b";"), "semicolon", "semicolon-separated, UTF-8", TWO
    ),
    Case("crlf.csv", PLAIN.replace(b"\n", b"\r\n"), "CRLF", "comma-separated, UTF-8", TWO),
    Case("old-mac.csv", PLAIN.replace(b"\n", b"\r"), "CR", "comma-separated, UTF-8", TWO),
    Case(
        "from-excel.csv",
        b"sep=;\r\n" + PLAIN.replace(b",", b";"),
        "sep=",
        "semicolon-separated, UTF-8",
        TWO,
    ),
    Case(
        "decimal-commas.csv",
        b"text;score\ngood, but long;1,5\nbad, and short;2,25\n",
        "delimiter-in-cells",
        "semicolon-separated, UTF-8",
        [["text", "score"], ["good, but long", "1,5"], ["bad, and short", "2,25"]],
    ),
    Case(
        "quotes.csv",
        b'text,label\n"she said ""good"", twice",pos\n5" is short,neg\n',
        "quotes-doubled quote-within",
        "comma-separated, UTF-8",
        [["text", "label"], ['she said "good", twice', "pos"], ['5" is short', "neg"]],
    ),
    Case(
        "letters.csv",
        b'text,label,id\n"Dear Sir,\nwell, yes\n\nYours, A",pos,1\nshort,neg,2\n"a, b\nc",pos,3\n'
        b'short,neg,4\n"pos, neg\nyes",pos,5\n',
        "newline-in-cell",
        "comma-separated, UTF-8",
        [
            ["text", "label", "id"],
            ["Dear Sir,\nwell, yes\n\nYours, A", "pos", "1"],
            ["short", "neg", "2"],
            ["a, b\nc", "pos", "3"],
            ["short", "neg", "4"],
            ["pos, neg\nyes", "pos", "5"],
        ],
    ),
    Case(
        "dialogue.csv",
        b'text,label\n"Is it so, neg\nor is it not?",neg\nyes,pos\nno,neg\nyes,pos\nno,neg\n',
        "newline-in-cell",
        "comma-separated, UTF-8",
        [
            ["text", "label"],
            ["Is it so, neg\nor is it not?", "neg"],
            *[["yes", "pos"], ["no", "neg"]] * 2,
        ],
    ),
    Case(
        "stray-pair.csv",
        b'label,text\npos,fine\nneg,"it was bad\npos,it was good"\nneg,awful\npos,nice\n'
        b"neg,so so\n",
        "stray-quote-pair",
        error=(
            "A quoted cell in row 3 holds what look like 2 rows: it was bad / pos,it was good",
            "stray-pair.csv, row 3",
            'Two stray quotes made one row of them: write quotes inside cells twice (""). If it '
            "is one text, save the table as JSON or Excel.",
        ),
    ),
    Case(
        "stray-pair-first.csv",
        b'text,label,id\nfine,pos,t1\n"Good" film,neg,t2\n"so bad,neg,t3\nso dull,neg,t4\n'
        b'so, so" good,pos,t5\nawful,neg,t6\nnice,pos,t7\n'.replace(b"so, so", b"so so"),
        "stray-quote-pair",
        error=(
            "A quoted cell in row 4 holds what look like 3 rows: "
            "so bad,neg,t3 / so dull,neg,t4 / so so good",
            "stray-pair-first.csv, row 4",
            'Two stray quotes made one row of them: write quotes inside cells twice (""). If it '
            "is one text, save the table as JSON or Excel.",
        ),
    ),
    Case(
        "unterminated.csv",
        b'text,label\nfine,pos\n"bad,neg\nfine,pos\n',
        "unterminated-quote",
        error=(
            "A quoted cell in row 3 never ends.",
            "unterminated.csv, row 3",
            "Look for a single stray quote in it.",
        ),
    ),
    Case(
        "ragged.csv",
        b"text,label\ngood, really,pos\nbad,neg\nbad, so bad,neg\n",
        "ragged",
        error=(
            "Row 2 has 3 cells where the header has 2. In all, 2 rows differ.",
            "ragged.csv, row 2",
            RAGGED,
        ),
    ),
    Case("empty.csv", b"", "empty", error=("The file is empty.", "empty.csv", NO_ROWS)),
    Case("blank.tsv", b" \r\n\n", "empty", error=("The file is empty.", "blank.tsv", NO_ROWS)),
    Case(
        "header-only.csv",
        b"text,label\n",
        "header-only",
        error=("The file has a header but no rows.", "header-only.csv", NO_ROWS),
    ),
    Case(
        "twice.csv",
        b"text,label,label\na,b,c\n",
        "duplicate-columns",
        error=(
            "The column 'label' occurs 2 times.",
            "twice.csv, row 1",
            "Give every column its own name.",
        ),
    ),
    Case(
        "from-pandas.csv",
        b",text,label\n0,a good film,pos\n",
        "unnamed-column",
        "comma-separated, UTF-8",
        [["column_1", "text", "label"], ["0", "a good film", "pos"]],
    ),
    Case(
        "trailing.csv",
        b"text,label\na good film,pos,\na bad one,neg,,\n",
        "trailing-delimiters",
        "comma-separated, UTF-8",
        TWO,
    ),
    Case(
        "blank-lines.csv",
        b"\n\ntext,label\n\na good film,pos\n\n\na bad one,neg\n\n",
        "blank-lines",
        "comma-separated, UTF-8",
        TWO,
    ),
    Case(
        "nuls.csv",
        b"text,label\na\0b,pos\n\x1b[2Jred\x07,neg\n",
        "NUL",
        error=(
            "This is a binary file although its name ends in .csv.",
            "nuls.csv",
            SAVE_CSV,
        ),
    ),
    Case(
        "late-nul.csv",
        b"text,label\n" + b"a good film,pos\n" * 300 + b"a\0b,neg\n",
        "NUL",
        "comma-separated, UTF-8",
        [["text", "label"], *[["a good film", "pos"]] * 300, ["a\0b", "neg"]],
    ),
    Case(
        "controls.csv",
        b"text,label\n\x1b[2Jred\x07,neg\na\x0bb\x0cc\x1cd,pos\n",
        "control-characters",
        "comma-separated, UTF-8",
        [["text", "label"], ["\x1b[2Jred\x07", "neg"], ["a\x0bb\x0cc\x1cd", "pos"]],
    ),
]
