"""Errors as part of the product: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class StudioError(Exception):
    """A problem that the user can do something about.

    Args:
        what: What is wrong, one sentence.
        where: The file, row or column, if there is one.
        remedy: What to do about it.
        fix: Settings that would do it, for a wizard to offer.
        fixes: Where there are several ways, the settings of each by what it does.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        remedy: str = "",
        fix: Mapping[str, object] | None = None,
        fixes: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.fix = dict(fix or {})
        self.fixes = dict(fixes or ({"do that": self.fix} if fix else {}))

    def __str__(self) -> str:
        return " ".join(filter(None, (self.what, self.where and f"({self.where})", self.remedy)))


class DiskError(StudioError):
    """The file system refused: a full disk, a lost folder, missing rights."""


class StoppedError(StudioError):
    """A run had to stop; what was recorded is kept, and the run can be resumed."""


def nearest(name: str, options: Iterable[str], *, kind: str = "known") -> str:
    """Return a sentence that names the options closest to a wrong name, or a few of them."""
    known = list(options)
    by_lower = {option.lower(): option for option in known}
    if name.lower() in by_lower:
        return f"Did you mean {by_lower[name.lower()]}?"
    close = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {', '.join(by_lower[c] for c in close)}?"
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"The {kind} ones are: {shown}." if known else ""
