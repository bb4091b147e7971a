"""The six run modes, as a menu shows them. Planning is in ``modes.planning``."""

from __future__ import annotations

MODES = {
    "quick": "one model per label, good defaults",
    "benchmark": "compare several models, pick the best",
    "custom": "choose every setting",
    "distributed": "one model per label value (multi-label)",
    "hybrid": "multi-class for some labels, one-vs-all for others",
    "reinforced": "train, then work on the weak classes",
}
