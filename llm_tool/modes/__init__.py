"""The six run modes, as a menu shows them. Planning is in ``modes.planning``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """A run mode; one that is not built yet is shown and says so."""

    name: str
    summary: str
    built: bool = False


MODES = (
    Mode("quick", "one model per label, good defaults", built=True),
    Mode("benchmark", "compare several models, pick the best"),
    Mode("custom", "choose every setting"),
    Mode("distributed", "one model per label value (multi-label)"),
    Mode("hybrid", "multi-class for some labels, one-vs-all for others"),
    Mode("reinforced", "train, then work on the weak classes"),
)
