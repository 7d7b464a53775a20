"""Downloads that are whole or absent, and archives that stay in their folder."""

import hashlib
import io
import json
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from histoscribe import retrieval
from histoscribe.archives import extract_archive
from histoscribe.errors import UserError
from histoscribe.retrieval import (
    hub_repository,
    retrieve_encoder,
    retrieve_file,
    retrieve_segmenter,
)

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
COMMIT = "0" * 40
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens


class Server(BaseHTTPRequestHandler):
    """Serves `files`; a path below /cut/ ends after half of what was announced."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        name = self.path.removeprefix("/cut").split("?")[0]
        if name not in self.files:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        # What the hub's client asks of a file.
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body[: len(body) // 2] if self.path.startswith("/cut") else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on this machine, whose files a test sets in `Server.files`."""
    Server.files = {"/data.bin": CONTENT}
    service = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{service.server_port}"
    service.shutdown()
    service.server_close()
    thread.join()


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- files


@pytest.mark.parametrize(
    "checks",
    [
        {"sha256": SHA256},
        {"md5": MD5.upper()},
        {"size_bytes": len(CONTENT)},
        {"size_bytes": "announced"},
    ],
    ids=["sha256", "md5", "size", "announced"],
)
def test_a_verified_file_is_put_in_place(server: str, tmp_path: Path, checks: dict) -> None:
    path = retrieve_file(f"{server}/data.bin", tmp_path / "new" / "data.bin", **checks)
    assert path.read_bytes() == CONTENT
    assert contents(tmp_path) == ["new", "new/data.bin"]
    mask = stat.S_IMODE(path.stat().st_mode)
    assert mask & 0o600 == 0o600


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ({"sha256": "0" * 64}, f"sha256 {SHA256}; expected sha256 0000"),
        ({"md5": "0" * 32}, f"md5 {MD5}; expected md5 0000"),
        ({"size_bytes": 7}, f"{len(CONTENT)} bytes; expected 7 bytes"),
        ({"size_bytes": len(CONTENT), "sha256": "0" * 64}, "sha256"),
    ],
    ids=["sha256", "md5", "size", "one-of-two"],
)
def test_a_file_that_fails_a_check_leaves_nothing(
    server: str, tmp_path: Path, checks: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        retrieve_file(f"{server}/data.bin", tmp_path / "data.bin", **checks)
    assert contents(tmp_path) == []


def test_a_broken_connection_leaves_nothing(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"ended after {len(CONTENT) // 2} of {len(CONTENT)} bytes"):
        retrieve_file(f"{server}/cut/data.bin", tmp_path / "data.bin", sha256=SHA256)
    assert contents(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (NOWHERE + "/data.bin", "refused"),
        ("SERVER/absent.bin", "404"),
        ("file:///etc/hostname", "not an http address"),
    ],
    ids=["offline", "absent", "not-http"],
)
def test_an_unreachable_file_says_where_to_put_it(
    server: str, tmp_path: Path, url: str, message: str
) -> None:
    path = tmp_path / "data.bin"
    with pytest.raises(UserError, match=message) as caught:
        retrieve_file(url.replace("SERVER", server), path, sha256=SHA256)
    assert f"by hand at {path}" in str(caught.value)
    assert contents(tmp_path) == []


def test_a_file_put_there_by_hand_is_kept(server: str, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(CONTENT)
    assert retrieve_file(NOWHERE + "/data.bin", path, sha256=SHA256) == path
    path.write_bytes(CONTENT[:-1])
    assert retrieve_file(f"{server}/data.bin", path, sha256=SHA256).read_bytes() == CONTENT


def test_a_failed_download_keeps_what_was_there(server: str, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"older")
    with pytest.raises(UserError):
        retrieve_file(f"{server}/cut/data.bin", path, sha256=SHA256)
    assert path.read_bytes() == b"older"
    assert contents(tmp_path) == ["data.bin"]


def test_a_download_without_a_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sha256, md5 or size_bytes"):
        retrieve_file(NOWHERE, tmp_path / "data.bin")


# --- archives


def as_tar(path: Path, entries: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, body in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            packed.addfile(entry, io.BytesIO(body))
        if extra is not None:
            packed.addfile(extra)
    return path


def as_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, body in entries.items():
            packed.writestr(name, body)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


FILES = {"outs/a/one.txt": b"1", "outs/b/two.txt": b"2", "outs/bb/three.txt": b"3"}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.zip"])
def test_an_archive_unpacks_whole_or_by_member(tmp_path: Path, name: str) -> None:
    archive = (as_zip if name.endswith("zip") else as_tar)(tmp_path / name, FILES)
    whole = extract_archive(archive, tmp_path / "whole")
    assert {str(p.relative_to(whole)): p.read_bytes() for p in whole.rglob("*.txt")} == FILES
    some = extract_archive(archive, tmp_path / "some", ["outs/b", "./outs/a/one.txt"])
    assert sorted(p.name for p in some.rglob("*.txt")) == ["one.txt", "two.txt"]


@pytest.mark.parametrize("name", ["../escaped.txt", "a/../../escaped.txt", "/tmp/escaped.txt"])
@pytest.mark.parametrize("kind", ["x.tar", "x.zip"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "in").mkdir()
    pack = as_zip if kind == "x.zip" else as_tar
    archive = pack(tmp_path / "in" / kind, {"fine.txt": b"", name: b"bad"})
    with pytest.raises(UserError, match="leaves the folder"):
        extract_archive(archive, tmp_path / "in" / "out")
    assert contents(tmp_path) == ["in", f"in/{kind}"]


@pytest.mark.parametrize(
    "entry",
    [
        link("sub", "/etc"),
        link("sub", "fine.txt", tarfile.LNKTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
    ],
    ids=["symlink", "hardlink", "pipe"],
)
def test_links_and_devices_are_refused(tmp_path: Path, entry: tarfile.TarInfo) -> None:
    archive = as_tar(tmp_path / "x.tar", {"fine.txt": b""}, entry)
    with pytest.raises(UserError, match="a link"):
        extract_archive(archive, tmp_path / "out")
    assert contents(tmp_path) == ["x.tar"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("sub")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(entry, "/etc")
    with pytest.raises(UserError, match="a link"):
        extract_archive(tmp_path / "x.zip", tmp_path / "out")


def test_an_absent_member_is_named(tmp_path: Path) -> None:
    archive = as_tar(tmp_path / "x.tar", FILES)
    with pytest.raises(UserError, match="no outs/c"):
        extract_archive(archive, tmp_path / "out", ["outs/a", "outs/c"])
    assert contents(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip", "x.txt"])
def test_a_damaged_archive_leaves_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("txt"):
        path.write_text("no archive")
    else:
        big = {"big.bin": CONTENT, "other.bin": CONTENT[::-1]}
        (as_zip if name.endswith("zip") else as_tar)(path, big)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="does not unpack"):
        extract_archive(path, tmp_path / "out")
    assert contents(tmp_path) == [name]


def test_a_folder_in_use_is_not_touched(tmp_path: Path) -> None:
    archive = as_tar(tmp_path / "x.tar", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="something there already"):
        extract_archive(archive, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


# --- encoders and segmenters


def put_on_hub(repository: str) -> None:
    Server.files |= {
        f"/{repository}/resolve/main/config.json": json.dumps({"architecture": "x"}).encode(),
        f"/{repository}/resolve/main/model.safetensors": CONTENT,
    }


def test_names_become_repositories() -> None:
    assert hub_repository("hf-hub:someone/model") == "someone/model"
    assert hub_repository("timm:hf-hub:someone/model") == "someone/model"
    assert hub_repository("vit_small_patch16_224.dino") == "timm/vit_small_patch16_224.dino"


def test_an_encoder_is_retrieved_with_its_digests(server: str, tmp_path: Path) -> None:
    put_on_hub("someone/model")
    folder = retrieve_encoder("hf-hub:someone/model", tmp_path / "model", endpoint=server)
    assert contents(tmp_path) == [
        "model",
        "model/SHA256SUMS",
        "model/config.json",
        "model/model.safetensors",
    ]
    assert f"{SHA256}  model.safetensors" in (folder / "SHA256SUMS").read_text()


def test_a_known_encoder_with_other_weights_is_refused(server: str, tmp_path: Path) -> None:
    (repository,) = retrieval.ENCODER_SHA256
    put_on_hub(repository)
    with pytest.raises(UserError, match=f"sha256 {SHA256}"):
        retrieve_encoder(repository, tmp_path / "model", endpoint=server)
    assert contents(tmp_path) == []


def test_an_encoder_offline_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits between its tries
    with pytest.raises(UserError) as caught:
        retrieve_encoder("hf-hub:someone/model", tmp_path / "model", endpoint=NOWHERE)
    message = str(caught.value)
    assert f"{NOWHERE}/someone/model/resolve/main/config.json" in message
    assert f"by hand into {tmp_path / 'model'}" in message
    assert "'morphology'" in message
    assert contents(tmp_path) == []


def test_an_encoder_that_is_not_there_is_a_user_error(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        retrieve_encoder("hf-hub:someone/absent", tmp_path / "model", endpoint=server)
    assert contents(tmp_path) == []


def test_a_segmenter_is_retrieved(server: str, tmp_path: Path) -> None:
    archive = as_zip(tmp_path / "x.zip", {"config.json": b"{}", "weights_best.h5": b"w"})
    Server.files["/model.zip"] = archive.read_bytes()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    folder = retrieve_segmenter("own", tmp_path / "own", f"{server}/model.zip", digest)
    assert contents(folder) == ["config.json", "weights_best.h5"]


def test_a_segmenter_that_is_no_model_is_refused(server: str, tmp_path: Path) -> None:
    archive = as_zip(tmp_path / "x.zip", {"readme.txt": b""})
    Server.files["/model.zip"] = archive.read_bytes()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=r"no config\.json"):
        retrieve_segmenter("own", tmp_path / "own", f"{server}/model.zip", digest)
    assert contents(tmp_path) == ["x.zip"]


def test_an_unknown_segmenter_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2D_versatile_he"):
        retrieve_segmenter("no_such_model", tmp_path / "model")


def test_the_segmenters_are_those_that_stardist_registers() -> None:
    import importlib.util

    source = Path(importlib.util.find_spec("stardist").submodule_search_locations[0])
    registry = (source / "models" / "__init__.py").read_text(encoding="utf-8")
    for url, sha256 in retrieval.SEGMENTERS.values():
        assert f"'{url}', '{sha256}'" in registry
