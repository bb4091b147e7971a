"""This project against the usual tools: same texts, model, batch size, epochs, side by side.

    python -m tests.benchmarks.speed --repeats 3

Each way runs in a process of its own, in alternating order, ``--repeats`` times; the medians are
compared. Speed is real (unpadded) training tokens a second, of the training part alone. The limit
is what this machine's float32 matrix product reaches in the same run, at 6 operations a weight and
token, embeddings left out. Twenty minutes on two cores. Needs the extra ``benchmark``.

    python -m tests.benchmarks.speed --bert-base --precision bfloat16 --documents 6400

On a GPU: a BERT-base of random weights, made on the spot, and the limit of the GPU's product in
that precision. AugmentedSocialScientist has no bfloat16.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from statistics import median

from tests.benchmarks.corpus import bert_base, mixed_texts, model_folder, token_count, weights_of
from tests.benchmarks.ways import Measured, Work, measure

NEEDS = {
    "Trainer": "accelerate",
    "Trainer, grouped by length": "accelerate",
    "AugmentedSocialScientist": "augmentedsocialscientist",
}
_PRODUCT = """
import sys, time, torch
gpu = torch.cuda.is_available()
size, dtype = 8192 if gpu else 2048, getattr(torch, sys.argv[1]) if gpu else torch.float32
a, b = (torch.randn(size, size, dtype=dtype, device="cuda" if gpu else "cpu") for _ in range(2))
def once():
    started = time.perf_counter(); a @ b; torch.cuda.synchronize() if gpu else None
    return time.perf_counter() - started
print(2 * size**3 / min(once() for _ in range(30)))
"""


def product_limit(precision: str) -> float:
    """Return the operations a second that torch's matrix product reaches: on a CPU in float32."""
    command = [sys.executable, "-c", _PRODUCT, precision]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def available(ways: list[str]) -> list[str]:
    """Return the ways whose packages are installed, and say which are not."""
    for way in ways:
        if way in NEEDS and find_spec(NEEDS[way]) is None:
            print(f"left out: {way} ({NEEDS[way]} is not installed; it is in the extra benchmark)")
    return [way for way in ways if way not in NEEDS or find_spec(NEEDS[way])]


def side_by_side(
    works: dict[str, tuple[str, Work]], repeats: int
) -> tuple[dict[str, list[Measured]], list[float]]:
    """Return what each way took in each repeat, and the limits measured beside them."""
    seen: dict[str, list[Measured]] = {name: [] for name in works}  # in this order
    limits = []
    for repeat in range(repeats):
        limits.append(product_limit(next(iter(works.values()))[1].precision or "float32"))
        for name in list(works)[:: 1 if repeat % 2 == 0 else -1]:
            seen[name].append(measure(*works[name]))
            own = seen[name][-1]
            print(f"  {repeat + 1} {name}: {own.seconds:.1f} s, {own.peak_gb:.2f} GB", flush=True)
    return seen, limits


def table(seen: dict[str, list[Measured]], tokens: int, limit: float, weights: float) -> None:
    """Print the medians, as a table in Markdown; ratios are of the medians.

    Args:
        seen: What was measured of each way, ours first.
        tokens: Real tokens of the texts.
        limit: Operations a second.
        weights: Of the model, without its embeddings.
    """
    seconds = {name: median(own.seconds for own in runs) for name, runs in seen.items()}
    memory = {name: median(own.peak_gb for own in runs) for name, runs in seen.items()}
    first = next(iter(seen))
    print("| way | seconds | real tokens/s | times as long as ours | of the limit | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, runs in seen.items():
        speed = tokens / seconds[name]
        spread = f"{min(r.seconds for r in runs):.1f}–{max(r.seconds for r in runs):.1f}"
        print(
            f"| {name} | {seconds[name]:.1f} ({spread}) | {speed:,.0f} "
            f"| {seconds[name] / seconds[first]:.1f} | {6 * weights * speed / limit:.0%} "
            f"| {memory[name]:.2f} GB, {memory[name] / memory[first]:.1f} times |"
        )


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bert-base", action="store_true", help="In place of MiniLM-L6.")
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument("--ways", nargs="+", default=list(NEEDS), choices=list(NEEDS))
    arguments = parser.parse_args()
    train = mixed_texts(arguments.documents)
    folder = bert_base() if arguments.bert_base else model_folder()
    work = Work(train, mixed_texts(40, seed=1), folder, precision=arguments.precision)
    tokens = token_count(train[0])
    works = {"llm-tool": ("llm-tool", work)}
    if arguments.precision is None:
        single = replace(work, precision="float32")
        works["llm-tool in float32"] = "llm-tool", single
        works["the same with torch's products"] = "llm-tool with torch's products", single
    works |= {way: (way, work) for way in available(arguments.ways)}
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    seen, limits = side_by_side(works, arguments.repeats)
    limit = median(limits)
    print(f"{arguments.documents} texts, {tokens:,} tokens; limit {limit / 1e9:.0f} GFLOP/s")
    table(seen, tokens, limit, weights_of(folder))


if __name__ == "__main__":
    main()
