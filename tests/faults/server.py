"""The command line in a process that has loaded everything: a run begins in a millisecond.

    python -m tests.faults.server

A line with a request comes in, ``{"words": [...], "folder": "...", "output": "..."}``; a copy of
this process runs the words as ``llm-tool`` would, in a process group of its own, and two lines
come back: its process id, and when it has ended how (as ``subprocess`` has it).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import sys
from contextlib import suppress

_HEAVY = (
    "pyarrow.parquet",
    "pyarrow.pandas_compat",
    "sklearn.metrics",
    "transformers.models.bert.modeling_bert",
)


def main() -> None:
    """Serve requests until the input ends."""
    import llm_tool

    for name in _HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(llm_tool.__path__, "llm_tool."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # or the first collection of every copy looks through all the libraries
    _say(os.getpid())
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            _run(**request)
        with suppress(PermissionError):  # the copy did it first, and has gone on
            os.setpgid(process, process)
        _say(process)
        _, status = os.waitpid(process, 0)
        _say(os.waitstatus_to_exitcode(status))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _run(words: list[str], folder: str, output: str) -> None:
    """Become the command; never returns."""
    from multiprocessing import util

    from llm_tool.cli.app import app

    os.setpgid(0, 0)
    os.chdir(folder)
    sys.argv = ["llm-tool", *words]
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(descriptor, standard)
    code: object = 1
    try:
        app(words)
    except SystemExit as left:
        code = left.code or 0
    except BaseException as error:  # noqa: BLE001 - as Python itself shows it
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        util._exit_function()  # what Python does at the end for workers
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
