"""The answers so far: what every question reads and adds to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from llm_tool.config import RunConfig, make_config
from llm_tool.data.columns import Columns, profile
from llm_tool.errors import StudioError
from llm_tool.studio.machine import Cluster
from llm_tool.studio.runs import Warmup
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import shorten, visible

if TYPE_CHECKING:
    from llm_tool.data.checks import Finding
    from llm_tool.data.loaders import Table

SKIP = object()  # what a question returns that need not be asked


@dataclass
class Draft:
    """The answers so far, as settings, and what is known of the file.

    ``read`` is the table as it is in the file, ``table`` the one that questions are asked about.
    """

    asker: Asker
    console: Console
    warmup: Warmup
    settings: dict[str, Any]
    table: Table | None = None
    read: Table | None = None
    guess: Columns | None = None
    languages: list[str] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()  # what was shown of the data last
    cluster: Cluster | None = None

    @property
    def config(self) -> RunConfig:
        """The configuration that the answers make."""
        return make_config(self.settings)

    def file(self) -> tuple[Table, Columns]:
        """Return the table that was chosen and the guess of its columns."""
        if self.table is None or self.guess is None:
            raise StudioError("No file was chosen.")
        return self.table, self.guess


Step = Callable[[Draft], object]  # returns BACK, SKIP, or anything else when it was answered


def keep(draft: Draft, key: str, answer: object, unless: object = None) -> object:
    """Keep an answer in the draft, unless it is what would be guessed anyway."""
    if answer is BACK:
        return BACK
    if answer == unless:
        draft.settings.pop(key, None)
    else:
        draft.settings[key] = answer
    return None


def described(table: Table, name: str) -> str:
    """Return a column's name with what is in it."""
    found = profile(table.frame[name].tolist())
    kind = "several values a row, " if found.multi else ""
    about = f"{kind}{len(found.distinct):,} different"
    if found.length > 30 and not found.multi:
        about = f"{found.length:.0f} characters on average"
    return f"{shorten(visible(name), 30)}  ({about})"
