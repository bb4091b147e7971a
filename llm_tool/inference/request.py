"""What is to be predicted, and the words of the command that does it. No torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from llm_tool.text import shell_word

_FLAGS = {
    "out": "--out",
    "text_column": "-t",
    "language_column": "--language-column",
    "encoding": "--encoding",
    "delimiter": "--delimiter",
    "sheet": "--sheet",
    "probabilities": "--probabilities",
    "int8": "--int8",
    "overwrite": "--overwrite",
}


@dataclass(frozen=True)
class Request:
    """One prediction: models, a table, and the file to write; ``None`` is guessed or detected."""

    models: tuple[str, ...]
    data: str
    out: str
    text_column: str | None = None
    language_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    probabilities: bool = False
    int8: bool = False
    overwrite: bool = False

    def command(self) -> str:
        """Return the command line that does the same without questions."""
        # A file name that starts with a dash would be read as a flag.
        paths = [f"./{one}" if one.startswith("-") else one for one in (*self.models, self.data)]
        words = ["llm-tool", "predict", *map(shell_word, paths)]
        for field in fields(self):
            value = getattr(self, field.name)
            flag = _FLAGS.get(field.name)
            if flag is None or value in (None, False):
                continue
            if value is True:
                words.append(flag)
            elif flag.startswith("--"):  # joined: a value can start with a dash
                words.append(f"{flag}={shell_word(value)}")
            else:
                words.append(f"{flag}{shell_word(value)}" if value.startswith("-") else f"{flag} "
                             f"{shell_word(value)}")  # fmt: skip
        return " ".join(words)


def default_output(data: str) -> str:
    """Return a name for the output of a table: beside where the user is, with its format."""
    name = Path(data).name
    stem = name.split(".")[0] or "table"
    ending = next((e for e in (".parquet", ".jsonl") if e in name.lower()), ".csv")
    return f"{stem}_predicted{ending}"
