"""Files as researchers have them, each with what has to come of it: these rows, or this error.

A file is made on the spot, by the writers that people use. ``CASES`` is the documentation of what
loads and what does not; ``covers`` says which format, encoding, packing and fault a file is for.
"""

from __future__ import annotations

from tests.awkward.delimited import DELIMITED
from tests.awkward.packed import OTHERS, PACKED
from tests.awkward.programs import EXCEL, TYPED
from tests.awkward.texts import ENCODINGS, JSON

CASES = [*DELIMITED, *ENCODINGS, *JSON, *EXCEL, *TYPED, *PACKED, *OTHERS]
