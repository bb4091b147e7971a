"""YAML as settings are written in it: read with one rule less, and values in a single line."""

from __future__ import annotations

import re
from typing import Any

import yaml

# Without the numbers of YAML 1.1 to the base of 60: `4:00:00` is a time, not 14,400.
_INT = re.compile(
    r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"
)
_FLOAT = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_OTHERS = {"tag:yaml.org,2002:int": _INT, "tag:yaml.org,2002:float": _FLOAT}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own way
        first: [(tag, _OTHERS.get(tag, pattern)) for tag, pattern in resolvers]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(text: str) -> Any:  # noqa: ANN401 - whatever is written there
    """Return what a text of YAML says.

    Raises:
        yaml.YAMLError: It is not YAML.
        ValueError: It holds a date or a number that is none.
        RecursionError: It has too many brackets.
    """
    return yaml.load(text, _Loader)


def write_yaml(value: object, *, one_line: bool = False) -> str:
    """Return YAML that ``read_yaml`` gives back the same, without a line break at its end."""

    def dump(*, escaped: bool) -> str:
        text: str = yaml.safe_dump(
            value,
            allow_unicode=not escaped,
            width=float("inf") if one_line else 1000,
            default_flow_style=one_line,
        )
        return text

    text = dump(escaped=False)
    if read_yaml(text) != value:  # rare line breaks (U+0085, U+2028) come back as spaces
        text = dump(escaped=True)
    return text.removesuffix("\n").removesuffix("\n...")


def as_value(value: object) -> str:
    """Return a setting as it stands behind ``KEY=``: plain where that is read as the same."""
    plain = list(value) if isinstance(value, tuple) else value
    if isinstance(plain, str):
        try:
            read = read_yaml(plain)
            # Settings that are texts, as `16000` of memory, take whole numbers too.
            if read == plain or (type(read) is int and str(read) == plain):
                return plain
        except (yaml.YAMLError, ValueError, RecursionError):
            pass
    elif not isinstance(plain, list):
        return str(plain)
    return write_yaml(plain, one_line=True)
