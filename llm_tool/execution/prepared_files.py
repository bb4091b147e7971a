"""What jobs of a run are given, so that none reads the data or tokenises: files and their manifest.

A few files, however many jobs there are. Their names are new each time and the manifest comes
last, so that a job never reads half of one preparation and half of another. JSON, Parquet and
Arrow: no pickle, and of the large ones a job reads only its own rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from llm_tool.data.dataset import Dataset
from llm_tool.data.tokens import Tokenizer, TokenStore
from llm_tool.data.windows import Ids
from llm_tool.errors import StudioError
from llm_tool.logs.files import disk_errors, replacing, whole
from llm_tool.plan import Parts
from llm_tool.text import visible

MANIFEST = "manifest.json"
_FORMAT = 1
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class PreparedTokens:
    """A file of token ids under one tokenizer, of at most ``max_length`` each."""

    file: str
    max_length: int


@dataclass(frozen=True)
class PreparedModel:
    """Where the files of a model are, what they are known by, and which tokens are its own."""

    folder: str
    mark: str
    tokens: int


@dataclass(frozen=True)
class Manifest:
    """What was prepared for a run: names of files beside it, and what each job needs of them.

    ``keys`` are the label columns in the file of the rows, in order; ``jobs`` gives the place of
    each job's split in the file of the parts.
    """

    config: Mapping[str, Any]
    sha256: str
    rows: str
    keys: tuple[str, ...]
    parts: str
    tokens: tuple[PreparedTokens, ...]
    models: Mapping[str, PreparedModel]
    jobs: Mapping[str, int]

    @property
    def files(self) -> list[str]:
        """The names of the other files."""
        return [self.rows, self.parts, *(tokens.file for tokens in self.tokens)]


@dataclass(frozen=True)
class PreparedLabels:
    """The values of a label column, by row."""

    values: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True)
class PreparedRows:
    """The rows of one job, by their positions in the dataset."""

    ids: Mapping[int, str]
    languages: Mapping[int, str]
    keys: Mapping[str, PreparedLabels]


class PreparedFolder:
    """The folder with what was prepared for one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Manifest | None:
        """Return what was prepared; ``None`` when nothing was, or not to the end.

        Raises:
            DiskError: It is there and cannot be read.
        """
        path = self.folder / MANIFEST
        with disk_errors(path, "Reading what was prepared for the jobs"):
            try:
                facts = json.loads(path.read_bytes())
                if facts.pop("format") != _FORMAT:
                    return None
                facts["keys"] = tuple(facts["keys"])
                facts["tokens"] = tuple(PreparedTokens(**own) for own in facts["tokens"])
                models = facts["models"].items()
                facts["models"] = {name: PreparedModel(**own) for name, own in models}
                manifest = Manifest(**facts)
            except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
                return None
            is_whole = all((self.folder / name).is_file() for name in manifest.files)
        return manifest if is_whole else None

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, and take away what is older than the one before.

        A job that has just read that one still finds its files.
        """
        before = self.read()
        kept = [MANIFEST, *manifest.files, *(before.files if before else ())]
        with replacing(self.folder / MANIFEST) as file:
            json.dump({"format": _FORMAT, **asdict(manifest)}, file)
        for path in self.folder.iterdir():
            if path.name not in kept:
                with suppress(OSError):
                    path.unlink()

    def write_rows(self, dataset: Dataset, keys: Sequence[str]) -> str:
        """Write ids, languages and the values of label columns; return the name of the file."""
        columns: dict[str, Any] = {
            "id": pa.array(dataset.ids, pa.string()),
            "language": pa.array(dataset.languages, pa.string()).dictionary_encode(),
        }
        for number, key in enumerate(keys):
            values = pa.array(dataset.keys[key].values, pa.list_(pa.string()))
            columns[f"key{number}"] = values
        name = _new_name("rows", "parquet")
        with whole(self.folder / name) as temporary:
            pq.write_table(pa.table(columns), temporary)
        return name

    def write_parts(self, every: Iterable[Parts]) -> str:
        """Write splits, one after the other; return the name of the file."""
        splits = [parts.named() for parts in every]
        columns = {
            part: _lists([np.asarray(own[part], dtype=np.int32) for own in splits])
            for part in _PARTS
        }
        return self._write("parts", columns)

    def write_tokens(
        self, store: TokenStore, rows: Sequence[int], chunked: Sequence[int], overlap: float
    ) -> PreparedTokens:
        """Write the tokens of rows.

        Args:
            store: Their tokens.
            rows: The rows that any job needs, in order.
            chunked: Those of them that any job reads in windows.
            overlap: Share of a window that the next one begins with.
        """
        cut = store.too_long(rows)
        windows = dict(zip(chunked, store.windows(chunked, overlap), strict=True))
        none = np.empty(0, dtype=np.int32)
        columns = {
            "row": pa.array(np.asarray(rows, dtype=np.int64)),
            "cut": pa.array([row in cut for row in rows], pa.bool_()),
            "ids": _lists(store.token_ids(rows)),
            "windows": _lists([windows.get(row, none) for row in rows]),
        }
        return PreparedTokens(self._write("tokens", columns), store.max_length)

    def _write(self, kind: str, columns: Mapping[str, Any]) -> str:
        name = _new_name(kind, "arrow")
        batch = pa.record_batch(columns)
        with whole(self.folder / name) as temporary, pa.ipc.new_file(temporary, batch.schema) as to:
            to.write_batch(batch)
        return name

    def parts_of(self, manifest: Manifest, job_id: str) -> Parts:
        """Return the rows of a job."""
        with pa.memory_map(str(self.folder / manifest.parts)) as file:
            splits = pa.ipc.open_file(file).get_batch(0)
            place = manifest.jobs[job_id]
            return Parts(*(_list_at(splits.column(part), place).tolist() for part in _PARTS))

    def rows_of(self, manifest: Manifest, rows: Sequence[int], keys: Iterable[str]) -> PreparedRows:
        """Return rows with their values in some of the label columns."""
        columns = {key: f"key{manifest.keys.index(key)}" for key in keys}
        names = ["id", "language", *columns.values()]
        table = pq.read_table(self.folder / manifest.rows, columns=names).take(pa.array(rows))

        def column(name: str) -> dict[int, Any]:
            return dict(zip(rows, table.column(name).to_pylist(), strict=True))

        values = {key: column(name).items() for key, name in columns.items()}
        return PreparedRows(
            ids=column("id"),
            languages=column("language"),
            keys={
                key: PreparedLabels({row: tuple(own) for row, own in pairs})
                for key, pairs in values.items()
            },
        )

    def tokens_of(
        self, tokens: PreparedTokens, tokenizer: Tokenizer, rows: Sequence[int], overlap: float
    ) -> TokenStore:
        """Return the tokens of rows; of the file nothing stays open."""
        with pa.memory_map(str(self.folder / tokens.file)) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
            known = batch.column("row").to_numpy()
            places = dict(zip(rows, np.searchsorted(known, rows).tolist(), strict=True))
            ids = {row: _list_at(batch.column("ids"), at) for row, at in places.items()}
            cut = batch.column("cut").to_numpy(zero_copy_only=False)
            long = [row for row, at in places.items() if cut[at]]
            windows = {row: _list_at(batch.column("windows"), places[row]) for row in long}
        whole_ones = {(row, overlap): own for row, own in windows.items() if len(own)}
        return TokenStore.filled(tokenizer, ids, long, whole_ones, tokens.max_length)


def check_folder(model: str, folder: Path) -> None:
    """Refuse a model whose files are not where the run found them.

    Raises:
        StudioError: They are not.
    """
    if not folder.is_dir():
        raise StudioError(
            f"The files of the model '{visible(model)}' are not on this node.",
            where=visible(str(folder)),
            remedy="Put them on a disk that all nodes share, and name them there; those of models "
            "of the hub are in the folder HF_HOME.",
        )


def _new_name(kind: str, ending: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}.{ending}"


def _lists(every: Sequence[Ids]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return a column with one list of numbers a row."""
    offsets = np.zeros(len(every) + 1, dtype=np.int64)
    np.cumsum([len(own) for own in every], out=offsets[1:])
    flat = np.concatenate(every) if every else np.empty(0, dtype=np.int32)
    return pa.LargeListArray.from_arrays(offsets, pa.array(flat, pa.int32()))


def _list_at(column: Any, place: int) -> NDArray[np.int32]:  # noqa: ANN401 - pyarrow has no types
    """Return one list of a column as a copy in memory, so that the file can be closed."""
    numbers: NDArray[np.int32] = column[place].values.to_numpy().copy()
    return numbers
