"""A next_byte network on Ray with private text: honest models are paid, a cheat is named, documents are disclosed."""

import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taoray
from actors.host import Host, ScoreRequest
from actors.wire import Query, sign_answer
from cluster.config import load_network
from cluster.driver import run_network
from cluster.errors import ClusterError, ConfigurationError
from cluster.home import Home
from cluster.show import Quiet
from ledger.store.chain import Chain

pytestmark = pytest.mark.cluster

LIBRARY = Path(sysconfig.get_path("stdlib"))
OVERRIDES = [
    f"data.paths={[str(LIBRARY / name) for name in ('asyncio', 'email', 'idlelib', 'unittest')]}",
    f"data.private={[str(LIBRARY / name) for name in ('encodings', 'importlib')]}",
    "query.panel=next_byte",
    "query.windows=2048",
    "training.steps=60",
    "query.window_bytes=65",
    "query.request=2048",
]


def _cheating_host() -> type:
    """A host that answers for echo with probabilities that sum to 2."""

    class CheatingHost(Host):
        def score(self, request: ScoreRequest, *queries: Query) -> Any:
            """Double what echo says."""
            receipt, answers = super().score(request, *queries)
            if "echo" not in request.wallets:
                return receipt, answers
            echo = request.versions[request.wallets.index("echo")]
            return receipt, [
                sign_answer(
                    self._hotkey("echo"),
                    query=answer.query,
                    version=answer.version,
                    first=answer.first,
                    said=np.full_like(answer.said, np.log(2 / 256)),
                )
                if answer.version == echo
                else answer
                for answer in answers
            ]

    return CheatingHost


class Notes(Quiet):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep it."""
        self.notes.append(sentence)


def test_a_network_of_hidden_targets(tiny_toml: Path, tmp_path: Path, run: Any) -> None:
    network, home, show = load_network(tiny_toml, OVERRIDES), Home(tmp_path), Notes()
    outcome = run_network(network, home, epochs=2, show=show, host_class=_cheating_host())
    assert not any("public" in note for note in show.notes)
    last = {neuron.name: neuron for neuron in outcome.records[-1].neurons}
    assert [last[name].status for name in ("vera", "ada", "grace", "still", "echo")] == [*["ok"] * 4, "invalid"]
    assert last["echo"].reason == "2048 of 2048 distributions do not sum to 1, one sums to 2"
    assert last["echo"].incentive == 0
    assert last["ada"].incentive + last["grace"].incentive > 0.9
    record = outcome.records[-1]
    assert record.collective_bits_per_byte is not None
    assert record.baseline_bits_per_byte is not None
    assert record.collective_bits_per_byte < record.baseline_bits_per_byte
    assert "do not sum to 1" in run("metagraph", "--home", str(tmp_path)).stdout
    assert all(not audited.differs for audited in taoray.audit(tmp_path, 2))
    with Chain.open(home.chain) as chain:
        genesis = chain.genesis
    assert genesis.panel == "next_byte"
    assert genesis.private_text is not None
    disclosure = taoray.disclose(tmp_path, 2)
    assert 0 < len(taoray.check_disclosure(disclosure, genesis.private_text)) <= disclosure.count
    with pytest.raises(ClusterError, match="not closed"):
        taoray.disclose(tmp_path, 3)
    for changed in ("data.private=[]", "query.panel=segments"):
        with pytest.raises(ConfigurationError) as caught:
            run_network(load_network(tiny_toml, [*OVERRIDES, changed]), home, epochs=1)
        assert caught.value.field == changed.partition("=")[0]
