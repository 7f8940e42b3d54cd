"""A network that runs on Ray and serves HTTP: submitted to from elsewhere, and followed while its epochs close."""

import io
import socket
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
import requests

import taoray
from benchmarks.submissions_world import Driver
from cluster.home import Home
from cluster.report import EpochRecord
from cluster.serve.routes import ARROW
from ledger.keys import encode_address
from ledger.units import RAO_PER_TAO
from ledger.wallet import Wallet
from tests.models.intake.architectures import make

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_a_model_from_elsewhere_is_valued_and_the_events_tell_it(tmp_path: Path) -> None:
    home, elsewhere, port = tmp_path / "home", tmp_path / "elsewhere", free_port()
    url = f"http://127.0.0.1:{port}"
    wallet, _ = Wallet.create(Home(elsewhere).wallets, "eve")
    driver = Driver(home, training__steps="8", serve__port=str(port))
    driver.start()
    try:
        taoray.faucet(home, encode_address(wallet.coldkey_public), 10 * RAO_PER_TAO)
        driver.wait_for_epoch(1)
        made = taoray.submit(make("mamba", tmp_path / "eve"), home=elsewhere, network=url)
        assert (made.state, made.running) == ("registered", True)
        with requests.get(f"{url}/events?after={made.valued_epoch - 1}", stream=True, timeout=300) as stream:
            told = next(line for line in stream.iter_lines(chunk_size=1) if line.startswith(b"data: "))
        arrow = requests.get(f"{url}/metagraph", headers={"accept": ARROW}, timeout=30).content
        assert requests.get(f"{url}/terms", timeout=30).json()["running"] is True
    finally:
        driver.stop()
    record = next(record for record in taoray.epochs(home) if record.epoch == made.valued_epoch)
    assert record_in(told) == record
    valued = next(neuron for neuron in record.neurons if neuron.name == "eve")
    assert (valued.uid, valued.status) == (made.uid, "ok")
    assert valued.new_bits is not None, "it is valued, not only measured"
    rows = {row["name"]: row for row in pa.ipc.open_stream(io.BytesIO(arrow)).read_all().to_pylist()}
    assert rows["eve"]["manifest"] == made.manifest
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/terms", timeout=30)


def record_in(event: bytes) -> EpochRecord:
    """The record in an event's line."""
    return msgspec.json.decode(event.removeprefix(b"data: "), type=EpochRecord)
