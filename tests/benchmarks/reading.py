"""What reading a big table takes, beside pandas alone.

    python -m tests.benchmarks.reading [--rows 1000000] [--repeats 3] [--format csv|jsonl|csv.gz]

Writes a table of texts of about 120 characters with an id, three label columns and a language, and
reads it with ``read_table`` and with ``pandas.read_csv`` (or ``read_json``) in turn, each in a
process of its own: seconds, microseconds a row, peak memory; medians, and the ratio. About a minute
and a half.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_WORDS = """
    the minister said that this law was good and nobody could vote against what le gouvernement
    a présenté hier à l'assemblée for schools hospitals climate budget press is very été déjà
""".split()  # noqa: SIM905
_OURS = "from llm_tool.data.loaders import read_table; rows = len(read_table({path!r}).frame)"
_PANDAS = {
    "csv": "import pandas; rows = len(pandas.read_csv({path!r}))",
    "csv.gz": "import pandas; rows = len(pandas.read_csv({path!r}))",
    "jsonl": "import pandas; rows = len(pandas.read_json({path!r}, lines=True))",
}
_TIMED = """
import pandas, resource, time
started = time.perf_counter()
{code}
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, rows)
"""


def write_table(path: Path, rows: int) -> None:
    """Write a table of a seeded random text a row; the ending says the format."""
    draw = random.Random(0)
    names = ("id", "text", "tone", "topic", "actor", "lang")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if path.suffix != ".jsonl":
            writer.writerow(names)
        for number in range(rows):
            text = " ".join(draw.choices(_WORDS, k=20)).capitalize() + ", (sic)."
            tone, topic = draw.choice(("pos", "neg", "neutral")), f"topic {draw.randrange(20)}"
            row = (f"t{number:07}", text, tone, topic, draw.choice("ABCD"), draw.choice("ef"))
            if path.suffix == ".jsonl":
                file.write(json.dumps(dict(zip(names, row, strict=True))) + "\n")
            else:
                writer.writerow(row)


def measure(code: str, rows: int) -> tuple[float, float]:
    """Return the seconds that code takes in a process of its own, and its peak memory in GB."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(code=code)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, kilobytes, read = done.stdout.split()
    if int(read) != rows:
        raise RuntimeError(f"{read} rows were read, of {rows}")
    # The system counts in bytes on a Mac, in kilobytes elsewhere.
    return float(seconds), int(kilobytes) / (1e9 if sys.platform == "darwin" else 1e6)


def main() -> None:
    """Print both ways and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--format", choices=_PANDAS, default="csv")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table.{asked.format}"
        write_table(path, asked.rows)
        size = path.stat().st_size / 1e6
        ways = {"llm-tool": _OURS, "pandas": _PANDAS[asked.format]}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(asked.repeats):
            for name, code in ways.items():
                taken[name].append(measure(code.format(path=str(path)), asked.rows))
    print(f"{asked.rows:,} rows of {asked.format}, {size:.0f} MB; medians of {asked.repeats}")
    print("| way | seconds | µs a row | peak memory |\n| --- | --- | --- | --- |")
    medians = {}
    for name, runs in taken.items():
        medians[name] = statistics.median(seconds for seconds, _ in runs)
        memory = statistics.median(gigabytes for _, gigabytes in runs)
        micro = medians[name] / asked.rows * 1e6
        print(f"| {name} | {medians[name]:.2f} | {micro:.2f} | {memory:.2f} GB |")
    print(f"ratio {medians['llm-tool'] / medians['pandas']:.2f}")


if __name__ == "__main__":
    main()
