"""Data frames that R saved: one in an .rds, any number of objects in an .RData."""

from __future__ import annotations

import warnings
from typing import Any

from llm_tool.data.readers.rows import NoRowsError, Options, Rows, listed, load_library, others
from llm_tool.data.readers.source import Source
from llm_tool.data.readers.values import columns_of
from llm_tool.errors import StudioError, nearest
from llm_tool.text import visible


def read_r(source: Source, options: Options) -> Rows:
    """Read a data frame: the one that is named, else the one with the most rows.

    Raises:
        StudioError: The extra is missing, the file is damaged, holds no data frame, or none of
            that name or with rows.
    """
    library = load_library("rdata", "R", "r", source.where)
    found = _objects(library, source, options)
    import pandas as pd

    frames = {name: own for name, own in found.items() if isinstance(own, pd.DataFrame)}
    if not frames:
        held = f": {listed(found)}" if any(found) else ""
        raise StudioError(
            f"This R file holds no data frame{held}.",
            where=source.where,
            remedy="In R, save the table as a data frame: saveRDS(as.data.frame(x), file).",
        )
    name = _chosen(frames, options.sheet, source.where)
    if not len(frames[name]):
        raise NoRowsError("The data frame has no rows.", source.where)
    columns = columns_of(frames[name], source.where)
    which = f", object '{visible(name)}'{others(len(found) - 1)}" if name else ""
    return Rows(columns, range(1, len(frames[name]) + 1), f"R{which}")


def _chosen(frames: dict[str, Any], wanted: str | None, where: str) -> str:
    if wanted is None or wanted in frames:
        return wanted or max(frames, key=lambda name: len(frames[name]))
    raise StudioError(
        f"There is no data frame '{visible(wanted)}'.",
        where=f"--sheet, {where}",
        remedy=nearest(visible(wanted), map(visible, filter(None, frames)), kind="existing"),
    )


def _objects(library: Any, source: Source, options: Options) -> dict[str, Any]:  # noqa: ANN401
    """Return the objects by their names; the only one of an .rds has none."""
    single = source.ending == ".rds"
    with source.open(options.on_progress) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes beyond data.frame, which add nothing here
        try:
            found = (library.read_rds if single else library.read_rda)(
                file,
                default_encoding=options.encoding,
                force_default_encoding=options.encoding is not None,
                constructor_dict=_constructors(library),
            )
        except StudioError:
            raise
        except Exception as error:  # noqa: BLE001 - a parser of binary files fails in any way
            raise StudioError(
                f"This R file cannot be read: {visible(str(error)).rstrip('.')}.",
                where=source.where,
                remedy="In R, save the table anew with saveRDS, or as CSV (UTF-8).",
            ) from None
    return {"": found} if single else dict(found)


def _constructors(library: Any) -> dict[Any, Any]:  # noqa: ANN401 - an untyped library
    """Return what makes Python's values of R's, with dates among them."""
    import pandas as pd

    own = {
        "Date": lambda values, _: pd.to_datetime(values, unit="D").to_numpy(),
        "POSIXct": lambda values, _: pd.to_datetime(values, unit="s").to_numpy(),
    }
    return {**library.conversion.DEFAULT_CLASS_MAP, **own}
