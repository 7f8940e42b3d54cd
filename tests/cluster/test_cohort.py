"""A cohort on a running network: θ is everybody's, cheats are left out, a driver is cut off, a member comes late."""

from pathlib import Path

import msgspec
import pytest

import taoray
from actors.parameters import load_standing
from cluster.config import load_network
from cluster.driver import run_network
from cluster.founding import find_genesis
from cluster.home import Home
from cluster.report import EpochRecord, RoundRecord
from cluster.show import Quiet
from ledger.store.chain import Chain
from ledger.units import RAO_PER_TAO
from models.store import Store
from models.train.layout import hash_vector

pytestmark = pytest.mark.cluster

COHORT_TOML = Path(__file__).parent / "cohort.toml"


class CutOff(Exception):
    """The driver is ended here."""


class CutsOff(Quiet):
    """Ends the driver when it is about to weigh the first round: after its open block, before any value."""

    def step(self, sentence: str, total: int = 0) -> None:
        """End at the first weighing."""
        if sentence.startswith("weighing"):
            raise CutOff


class Keeps(Quiet):
    """Keeps the records of epochs."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []

    def epoch(self, record: EpochRecord) -> None:
        """Keep it."""
        self.records.append(record)


@pytest.fixture(scope="module")
def lived(small_text: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[EpochRecord]]:
    """A home whose first driver was cut off in the cohort's first round, and which a member joined then."""
    network, home = load_network(COHORT_TOML, [small_text]), Home(tmp_path_factory.mktemp("together"))
    before = msgspec.structs.replace(network, peers=tuple(peer for peer in network.peers if peer.name != "cleo"))
    with pytest.raises(CutOff):
        run_network(before, home, epochs=9, show=CutsOff())
    find_genesis(network, home)
    taoray.faucet(home.folder, "cleo", 10 * RAO_PER_TAO)
    show = Keeps()
    run_network(network, home, epochs=4, show=show)
    return home, show.records


def rounds_of(records: list[EpochRecord]) -> list[RoundRecord]:
    return [record.rounds[0] for record in records]


def test_the_network_goes_on_where_its_driver_was_cut_off(lived: tuple[Home, list[EpochRecord]]) -> None:
    home, records = lived
    assert [record.epoch for record in records] == [2, 3, 4, 5]
    assert all(record.final for record in records)
    assert taoray.verify(home.folder).epoch == 5


def test_every_round_is_agreed_on_and_its_values_are_what_the_step_brings(
    lived: tuple[Home, list[EpochRecord]],
) -> None:
    rounds = rounds_of(lived[1])
    assert all(each.agreed for each in rounds)
    assert len({each.parameters for each in rounds}) == len(rounds), "every round takes a step"
    for each in rounds:
        assert each.path_bits == pytest.approx(each.measured_bits, rel=0.01)
    assert rounds[-1].bits_per_byte < rounds[1].bits_per_byte - 1, "the shared model learns"


def test_who_sends_the_opposite_is_left_out_and_earns_nothing(lived: tuple[Home, list[EpochRecord]]) -> None:
    home, records = lived
    for each in rounds_of(records):
        assert "flip" not in each.taken
        assert {member.code for member in each.members if member.name == "flip"} == {"no_gain"}
    with Chain.open(home.chain) as chain:
        (row,) = chain.state.cohorts().values()
        names = {neuron.uid: neuron.name for neuron in chain.state.neurons()}
    assert {names[each.uid] for each in row.sums if each.value > 0} == {"ada", "ben", "cleo"}


def test_a_member_that_comes_late_begins_where_the_others_are(lived: tuple[Home, list[EpochRecord]]) -> None:
    home, records = lived
    first, *_, last = rounds_of(records)
    assert {member.code for member in first.members if member.name == "cleo"} == {"absent"}
    assert set(last.taken) == {"ada", "ben", "cleo"}
    with Chain.open(home.chain) as chain:
        begun = {each.parameters.hex() for each in chain.state.contributions().values()}
        (row,) = chain.state.cohorts().values()
    assert begun == {last.parameters} == {row.parameters.hex()}


def test_the_ledgers_parameters_are_in_the_store_and_updates_beside_them(
    lived: tuple[Home, list[EpochRecord]],
) -> None:
    home, _ = lived
    with Chain.open(home.chain) as chain:
        (row,) = chain.state.cohorts().values()
        committed = {each.payload.hex() for each in chain.state.contributions().values()}
    accepted = {each.uid: each.payload for each in row.accepted}
    standing = load_standing(
        row.manifest,
        row.parameters,
        accepted,
        load_network(COHORT_TOML).cohorts[0].outer,
        store=Store(home.store),
        contributions=home.contributions,
        device="cpu",
    )
    assert hash_vector(standing.theta_P, standing.layout) == row.parameters
    assert {path.name for path in home.contributions.iterdir()} == committed | {
        each.hex() for each in accepted.values()
    }
    assert all(
        not any((folder / "outbox").iterdir()) for folder in home.peers.iterdir() if (folder / "outbox").exists()
    )
