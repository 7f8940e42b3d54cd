"""The driver's part of a cohort's round: who signs what, what is asked, and which updates everybody can read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.keeper import View
from actors.member import RoundReceipt
from actors.round_wire import page_seed
from cluster.cohorts import first_jobs, keep_first, read_cohorts
from cluster.config import CohortEntry, Network, load_network
from cluster.founding import found
from cluster.home import Home
from cluster.keeping import forget_updates
from cluster.rounds import round_calls, round_request, share
from cluster.run import Run, Work, wallets_by_hotkey
from cluster.show import Quiet
from ledger.entries import NEVER, Accepted, Cohort, Collective, Contribution, Neuron
from ledger.extrinsics import Checkpoint, Contribute, Publish
from ledger.state import Supply

COHORT_TOML = Path(__file__).parent / "cohort.toml"
FIRST = b"f" * 32
THETA = b"t" * 32
MANIFEST = b"m" * 32


class Notes(Quiet):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep it."""
        self.notes.append(sentence)


def only(kind: type, **fields: object) -> Any:
    """An instance of which nothing else is looked at."""
    return kind(**dict.fromkeys(kind.__dataclass_fields__) | fields)


@pytest.fixture(scope="module")
def wallets(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, str]:
    """The names of a founded network's wallets by hotkey."""
    network, home = load_network(COHORT_TOML), Home(tmp_path_factory.mktemp("founded"))
    found(network, home)
    return wallets_by_hotkey(network, home)


@pytest.fixture
def run(wallets: dict[bytes, str], tmp_path: Path) -> Run:
    """A run whose cohort has begun; ada, ben, cleo, flip and grace have the uids 0 to 4 in `see`."""
    made: Run = only(Run, network=load_network(COHORT_TOML), home=Home(tmp_path), show=Notes(), wallets=wallets)
    keep_first(made, {"choir": FIRST})
    return made


def cohort_of(run: Run) -> tuple[CohortEntry, bytes]:
    ((cohort, record),) = read_cohorts(run)
    return cohort, bytes.fromhex(record.id)


def see(
    run: Run, *, cohorts: Mapping[bytes, Cohort] | None = None, payloads: Mapping[int, bytes] | None = None
) -> View:
    """A view with these rows of cohorts, and contributions that were made in the order given."""
    hotkeys = {name: hotkey for hotkey, name in run.wallets.items()}
    neurons = tuple(
        Neuron(
            uid=uid,
            name=peer.name,
            hotkey=hotkeys[peer.name],
            coldkey=bytes(32),
            registered_at=0,
            registered_epoch=0,
            last_update=0,
            permit=False,
            revealed_epoch=NEVER,
        )
        for uid, peer in enumerate(run.network.peers)
    )
    _, name = cohort_of(run)
    return View(
        neurons=neurons,
        stakes_rao=(0,) * len(neurons),
        rows=(),
        supply=Supply(0, 0, 0, 0, 0, 0),
        previous_close_hash=b"p" * 32,
        close_hash=b"c" * 32,
        cohorts=cohorts or {},
        contributions={
            uid: Contribution(cohort=name, epoch=3, parameters=THETA, payload=payload, place=place)
            for place, (uid, payload) in enumerate((payloads or {}).items())
        },
        collective=Collective(strata=(), members=()),
    )


def row(*accepted: Accepted) -> Cohort:
    return Cohort(epoch=2, parameters=THETA, manifest=MANIFEST, accepted=accepted, sums=())


def receipt(payload: bytes) -> RoundReceipt:
    return RoundReceipt(
        parameters=b"n" * 32,
        manifest=b"v" * 32,
        payload=payload,
        size_bytes=1,
        dense_bytes=1,
        tokens=1,
        loss_bits_per_byte=None,
        seconds=0.0,
    )


def made_by(*names: str) -> dict[str, RoundReceipt]:
    return {name: receipt(name.encode().ljust(32)) for name in names}


def test_members_are_bound_to_their_updates_and_nobody_publishes_a_random_model(run: Run) -> None:
    calls = round_calls(run, Work(3), see(run), made_by("ada", "cleo"))
    assert calls == {
        name: [Contribute(cohort=cohort_of(run)[1], epoch=3, parameters=b"n" * 32, payload=name.encode().ljust(32))]
        for name in ("ada", "cleo")
    }


@pytest.mark.parametrize(
    ("accepted", "publisher"),
    [((0, 1, 2), "ben"), ((2, 3), "cleo"), ((), None), ((0,), None)],
    ids=["the first is late", "the lowest", "nothing was accepted", "who was accepted is late"],
)
def test_the_lowest_accepted_uid_that_is_there_publishes(
    run: Run, accepted: tuple[int, ...], publisher: str | None
) -> None:
    _, name = cohort_of(run)
    rows = {name: row(*(Accepted(uid=uid, payload=bytes(32)) for uid in accepted))}
    calls = round_calls(run, Work(3), see(run, cohorts=rows), made_by("ben", "cleo", "flip"))
    shown = [Checkpoint(parameters=b"n" * 32, manifest=b"v" * 32), Publish(manifest=b"v" * 32)]
    assert {member: own[1:] for member, own in calls.items() if len(own) > 1} == (
        {publisher: shown} if publisher else {}
    )


def test_a_uid_that_changed_hands_does_not_publish(run: Run) -> None:
    _, name = cohort_of(run)
    rows = {name: row(Accepted(uid=0, payload=bytes(32), left=True), Accepted(uid=1, payload=bytes(32)))}
    calls = round_calls(run, Work(3), see(run, cohorts=rows), made_by("ada", "ben"))
    assert [len(calls[member]) for member in ("ada", "ben")] == [1, 3]


def test_a_round_is_asked_about_as_the_ledger_has_it(run: Run) -> None:
    cohort, name = cohort_of(run)
    ((_, record),) = read_cohorts(run)
    assert round_request(run, see(run), cohort, record) is None
    first = see(run, payloads={2: b"x" * 32, 0: b"y" * 32})
    asked = round_request(run, first, cohort, record)
    assert asked is not None
    assert (asked.cohort, asked.first, asked.manifest, asked.parameters, asked.accepted) == (
        name,
        FIRST,
        FIRST,
        None,
        (),
    )
    assert [(each.uid, each.payload) for each in asked.entrants] == [(2, b"x" * 32), (0, b"y" * 32)]
    assert asked.entrants[0].page_seed == page_seed(b"p" * 32, first.neurons[2].hotkey)
    later = see(run, cohorts={name: row(Accepted(uid=3, payload=b"z" * 32, left=True))})
    asked = round_request(run, later, cohort, record)
    assert asked is not None
    assert (asked.manifest, asked.parameters, asked.accepted) == (MANIFEST, THETA, ((3, b"z" * 32),))
    assert asked.entrants == ()


def test_payloads_are_shared_once_the_ledger_names_them(run: Run) -> None:
    outbox = run.home.peers / "ada" / "outbox"
    outbox.mkdir(parents=True)
    on_ledger, waiting = b"x" * 32, b"w" * 32
    for payload in (on_ledger, waiting):
        (outbox / payload.hex()).write_bytes(payload)
    view = see(run, payloads={0: on_ledger, 1: b"g" * 32})
    for _ in range(2):
        share(run, view)
        assert (run.home.contributions / on_ledger.hex()).read_bytes() == on_ledger
        assert [path.name for path in outbox.iterdir()] == [waiting.hex()]
    assert isinstance(run.show, Notes)
    assert run.show.notes == [f"ben's update is gone: {(b'g' * 32).hex()[:16]}"] * 2


def test_updates_are_kept_as_long_as_a_step_needs_them(run: Run) -> None:
    _, name = cohort_of(run)
    run.home.contributions.mkdir()
    for payload in (b"a", b"o", b"u"):
        (run.home.contributions / (payload * 32).hex()).touch()
    rows = {name: row(Accepted(uid=1, payload=b"a" * 32))}
    forget_updates(run.home, see(run, cohorts=rows, payloads={0: b"o" * 32}))
    assert {path.name for path in run.home.contributions.iterdir()} == {(b"a" * 32).hex(), (b"o" * 32).hex()}


def test_a_cohort_with_other_rules_begins_anew(run: Run) -> None:
    assert first_jobs(run) == {}

    def changed(network: Network, **fields: object) -> Run:
        cohorts = (msgspec.structs.replace(network.cohorts[0], **fields),)
        return only(Run, **{**vars(run), "network": msgspec.structs.replace(network, cohorts=cohorts)})

    _, name = cohort_of(run)
    cohort = run.network.cohorts[0]
    assert first_jobs(changed(run.network, windows=8)) == {}, "how it is valued is no rule of it"
    other = changed(run.network, outer=msgspec.structs.replace(cohort.outer, rate=0.5))
    assert list(first_jobs(other)) == ["choir"]
    keep_first(other, {"choir": FIRST})
    assert cohort_of(other)[1] != name
