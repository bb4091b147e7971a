"""Everything about a prediction that is decided, and can be wrong, before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool import __version__
from llm_tool.data.columns import guess_columns, is_missing
from llm_tool.data.dataset import clean_text
from llm_tool.data.label_keys import composed
from llm_tool.data.languages import DETECT, Sorter
from llm_tool.data.streams import TableStream, open_stream
from llm_tool.errors import StudioError, nearest
from llm_tool.inference.columns import Channel, Group, group_models, make_channels
from llm_tool.inference.files import format_for
from llm_tool.inference.models import fingerprint, read_saved_model
from llm_tool.inference.request import Request
from llm_tool.logs.files import check_place
from llm_tool.plan import MULTILINGUAL
from llm_tool.text import visible

if TYPE_CHECKING:
    from llm_tool.data.columns import Columns

# A chunk ends with the batch in which it reaches one of these. Many texts, so that those of one
# length find each other; and not so many that a kill costs much, or books fill the memory.
CHUNK_ROWS, CHUNK_CHARACTERS = 4_000, 8_000_000
_NONE = "none"


@dataclass(frozen=True)
class Work:
    """What is predicted.

    ``language`` is the name of a column, ``detect``, or empty where no model asks for it; with
    ``detect`` there is a ``sorter``.
    """

    request: Request
    out: Path
    table: TableStream
    groups: Sequence[Group]
    channels: Sequence[Channel]
    text: str
    language: str
    sorter: Sorter | None
    notes: tuple[str, ...]
    chunk_rows: int

    @property
    def columns(self) -> dict[str, type]:
        """The names of the new columns, and what each holds."""
        names = [c.columns(with_classes=self.request.probabilities) for c in self.channels]
        return {name: float if i else str for own in names for i, name in enumerate(own)}

    @property
    def has_language_column(self) -> bool:
        """Whether a column says the languages."""
        return bool(self.language) and self.sorter is None

    def manifest(self) -> dict[str, object]:
        """Return what the rows of the output depend on, by what a message calls it.

        Raises:
            StudioError: A model cannot be read.
        """
        request = self.request
        models = [model for group in self.groups for model in group.models]
        reading = [request.encoding, request.delimiter, request.sheet]
        chunks = [self.chunk_rows, CHUNK_CHARACTERS]
        return {
            "data": self.table.sha256,
            "models": [fingerprint(model.folder) for model in models],
            "columns": [self.text, self.language, *self.columns],
            "settings": [*reading, request.probabilities, request.int8, *chunks, __version__],
        }

    def languages_of(self, texts: Sequence[str], cells: Sequence[object] | None) -> list[str]:
        """Return the language of each row, in upper case; empty where it is not known.

        Args:
            texts: The rows' texts.
            cells: Their cells of the language column, if there is one.
        """
        if self.sorter is not None:
            return [self.sorter.language(text) if text else "" for text in texts]
        if cells is None:
            return [""] * len(texts)
        return ["" if is_missing(c) else composed(clean_text(c)).upper() for c in cells]


def prepare(
    request: Request,
    on_progress: Callable[[int, int], None] | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Work:
    """Check a request and read its table once.

    Args:
        request: What to predict.
        on_progress: Gets the bytes of the table that were read, and their number in all.
        chunk_rows: Rows that are predicted and kept together.

    Raises:
        StudioError: A model or the table cannot be used, a column is missing, or the output is
            there already or has no format.
    """
    out = Path(request.out).expanduser()
    format_for(out)
    _refuse_output(out, request)
    groups = group_models([read_saved_model(folder) for folder in request.models])
    table = open_stream(
        Path(request.data).expanduser(),
        encoding=request.encoding,
        delimiter=request.delimiter,
        sheet=request.sheet,
        on_progress=on_progress,
    )
    roles = _roles(table, request)
    text = request.text_column or (roles.text if roles else "")
    present = {*table.names, *table.keys}
    channels, notes = make_channels(groups, present, with_classes=request.probabilities)
    language = _language(table, groups, request, roles)
    sorter = Sorter(_known(groups)) if language == DETECT else None
    if request.language_column and not any(group.routes for group in groups):
        notes.append("No model is for one language of several: the languages are not needed.")
    if table.in_memory and table.count > CHUNK_ROWS:
        notes.append(f"A table of this format is in memory as a whole: {table.how}.")
    return Work(
        request,
        out,
        table,
        groups,
        channels,
        text,
        language,
        sorter,
        (*table.notes, *notes),
        chunk_rows,
    )


def _refuse_output(out: Path, request: Request) -> None:
    check_place(out)
    where = visible(str(out))
    data = Path(request.data).expanduser()
    if out.exists() and data.exists() and out.samefile(data):
        raise StudioError(
            "The output would take the place of the table.",
            where=where,
            remedy="Give another name with --out.",
        )
    if out.exists() and not request.overwrite:
        raise StudioError(
            "The output is there already.",
            where=where,
            remedy="Replace it with --overwrite, or give another name with --out.",
        )


def _roles(table: TableStream, request: Request) -> Columns | None:
    """Return what columns look like; named ones must be there.

    Raises:
        StudioError: One is not, or no column looks like texts.
    """
    named = [(request.text_column, "--text-column")]
    if not _says_no_column(request, table):
        named.append((request.language_column, "--language-column"))
    for name, flag in named:
        if name is not None and name not in table.names:
            raise StudioError(
                f"There is no column '{visible(name)}'.",
                where=f"{flag}, {visible(table.path)}",
                remedy=nearest(visible(name), map(visible, table.names), kind="existing"),
            )
    taken = {request.language_column} if request.language_column else set()
    return guess_columns(table.head, request.text_column, not_text=taken)


def _says_no_column(request: Request, table: TableStream) -> bool:
    name = request.language_column or ""
    return name.lower() in (_NONE, DETECT) and name not in table.names


def _language(
    table: TableStream, groups: Sequence[Group], request: Request, roles: Columns | None
) -> str:
    """Return where the language of a row is found.

    Raises:
        StudioError: It is said not to be known, and no model takes such rows.
    """
    if not any(group.routes for group in groups):
        return ""
    if not _says_no_column(request, table):
        guessed = roles.language if roles else None
        return request.language_column or guessed or DETECT
    if str(request.language_column).lower() == DETECT:
        return DETECT
    if not all(group.model_for("") is not None for group in groups):
        raise StudioError(
            "The models are for one language each: without one, no row has a model.",
            where="--language-column",
            remedy=f"Name the column with the languages, or give `{DETECT}`.",
        )
    return ""


def _known(groups: Sequence[Group]) -> list[str]:
    """Return the languages that some model is for."""
    every = (model.language for group in groups if group.routes for model in group.models)
    return [language for language in dict.fromkeys(every) if language != MULTILINGUAL]
