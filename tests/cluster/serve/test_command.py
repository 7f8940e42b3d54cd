"""`taoray serve` as a person runs it: in a process of its own, ended by a signal."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import requests

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
