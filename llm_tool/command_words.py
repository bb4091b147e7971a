"""Settings as words of a command line: which flag each has, and how its value is written."""

from __future__ import annotations

from llm_tool.yaml_text import as_value

# Settings that have a flag of their own, as a command names them; all others go through --set.
FLAGS = {
    "text_column": "-t",
    "label": "-l",
    "language_column": "--language-column",
    "id_column": "--id-column",
    "group_column": "--group-column",
    "split_column": "--split-column",
    "scheme": "--scheme",
    "key_column": "--key-column",
    "value_column": "--value-column",
    "multi_class": "--multi-class",
    "one_vs_all": "--one-vs-all",
    "shared_encoder": "--shared-encoder",
    "folds": "--folds",
    "learning_curve": "--learning-curve",
    "encoding": "--encoding",
    "delimiter": "--delimiter",
    "sheet": "--sheet",
    "model": "-m",
    "languages": "--languages",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "max_length": "--max-length",
    "monitor": "--monitor",
    "patience": "--patience",
    "reinforced": "--reinforced",
    "long_documents": "--long-documents",
    "executor": "--executor",
    "processes": "--processes",
    "workers": "--workers",
    "threads": "--threads",
    "seed": "--seed",
    "seeds": "--seeds",
    "tracker": "--tracker",
    "logs_dir": "--logs-dir",
    "models_dir": "--models-dir",
    "session_id": "--session-id",
}


def setting_words(name: str, value: object) -> list[str]:
    """Return the words of a command that give a setting this value; a list's flag is repeated."""
    if name == "seeds" and isinstance(value, tuple):
        value = ",".join(map(str, value))
    if name not in FLAGS:  # one word, for a second --set of the same key would replace the first
        return ["--set", f"{name}={as_value(value)}"]
    values = value if isinstance(value, tuple) else (value,)
    return [word for one in values for word in _flag(name, one)]


def _flag(name: str, value: object) -> list[str]:
    flag = FLAGS[name]
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-")]
    # `-t=x` and `--flag=x` keep a value that starts with a dash from being read as a flag.
    text = str(value)
    if text.startswith("-"):
        return [f"{flag}={text}" if flag.startswith("--") else f"{flag}{text}"]
    return [flag, text]
