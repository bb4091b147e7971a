"""Show text that is not ours: visible control characters, names that fit a column."""

from __future__ import annotations

import re
import shlex
import unicodedata

# Cc: controls (escape, newline), Cf: format (bidi overrides, zero width), Cs: lone surrogates,
# Zl/Zp: line and paragraph separators. Each can move the cursor or reorder what is printed.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# NUL and halves of characters, which JSON can spell and command lines can hold: no file name, no
# journal and no tokenizer takes them.
UNWRITABLE = re.compile("[\0\ud800-\udfff]")

# What begins or ends emphasis, code, a link, a cell, a formula or HTML. An underscore within a word
# does nothing.
_MARKDOWN = re.compile(r"[\\`*\[\]|~$<>&@]|(?<![^\W_])_|_(?![^\W_])|(?<=\bwww)\.|:(?=//)")

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
        # What LaTeX would take for an option of the line break before it.
        "[": "{[}",
        "]": "{]}",
        "*": "{*}",
        "±": r"\textpm{}",
        "·": r"\textperiodcentered{}",
        "−": r"\textminus{}",
        "–": r"\textendash{}",
        "“": r"\textquotedblleft{}",
        "”": r"\textquotedblright{}",
        "’": r"\textquoteright{}",
        "\u00a0": "~",
        "\u202f": r"\,",  # as French has it before a semicolon
    }
)


def visible(text: str) -> str:
    """Return text with every character that a terminal might act on written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSAFE else c
        for c in text
    )


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, also in a table's cell and at a line's start."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", visible(text))
    escaped = re.sub(r"^(\s*)([-+#=])", r"\1\\\2", escaped)
    return re.sub(r"^(\s*\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)  # or a list would begin


def escape_latex(text: str) -> str:
    """Return text that LaTeX sets as it is, also at the beginning of a table's row."""
    # Two hyphens would be joined to a dash.
    return visible(text).translate(_LATEX).replace("--", "-{}-").replace("--", "-{}-")


def shell_word(text: str) -> str:
    """Return text as one word of a command for bash or zsh, with nothing a terminal acts on."""
    if visible(text) == text:
        return shlex.quote(text)
    inner = text.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{visible(inner)}'"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shorten(text: str, width: int) -> str:
    """Return text cut in the middle to at most ``width`` characters, as ``bert-b…cased``."""
    if len(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    head = width // 2
    tail = width - head - 1
    return f"{text[:head]}…{text[len(text) - tail :]}"
