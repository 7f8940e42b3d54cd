"""`taoray serve` as a person runs it: in a process of its own, ended by a signal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from cluster.serve.signing import sign_request
from ledger.keys import Keypair
from models.manifest import Manifest, encode_manifest

ROOT = Path(__file__).parents[3]


def test_it_says_where_it_serves_and_ends_when_told(home: Path) -> None:
    command = [sys.executable, "-m", "cluster", "serve", "--home", str(home), "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert (told["network"], told["home"]) == ("tiny", str(home))
            terms = requests.get(f"{told['url']}/terms", timeout=30).json()
            assert terms["network"] == "tiny"
            process.send_signal(signal.SIGTERM)
            rest, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, b"")
    assert b"stopped" in said
    assert b"Traceback" not in said


@contextmanager
def started(home: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The command in a process, and the URL that it tells."""
    command = [sys.executable, "-m", "cluster", "serve", "--home", str(home), "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"], process
        finally:
            process.kill()


@pytest.mark.thorough
def test_an_upload_goes_on_after_the_server_was_killed(
    home: Path, genesis: bytes, ada: Keypair, model: Path, manifest: Manifest
) -> None:
    target = f"/uploads/{manifest.hash.hex()}"
    weights = (model / "model.safetensors").read_bytes()

    def ask(url: str, method: str, where: str, body: bytes = b"") -> dict[str, Any]:
        headers = sign_request(ada, genesis, method, where, body)
        answer: dict[str, Any] = requests.request(method, url + where, data=body, headers=headers, timeout=30).json()
        return answer

    with started(home) as (url, process):
        ask(url, "POST", "/uploads", encode_manifest(manifest))
        ask(url, "PUT", f"{target}/model.safetensors?offset=0", weights[:5000])
        process.kill()
    with started(home) as (url, process):
        assert ask(url, "GET", target)["offsets"]["model.safetensors"] == 5000
        rest = ask(url, "PUT", f"{target}/model.safetensors?offset=5000", weights[5000:])
        assert rest["offsets"]["model.safetensors"] == len(weights)
        held = requests.get(f"{url}/keys/{ada.address}", timeout=30).json()
        assert held["reserved_rao"] == 10**9


def test_it_needs_a_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "serve", "--home", str(tmp_path), "--port", "0", "--json"],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no" in json.loads(done.stdout.splitlines()[-1])["error"]
