"""Remote peers' answers in a next_byte network: whose they are, who comes first, and that bad ones cost nobody else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from actors.ballot import Finding, NeuronFinding
from actors.wire import Answer, sign_answer
from ledger.extrinsics import Serve
from models.value.audit import audit
from models.value.record import read_evidence

pytestmark = pytest.mark.thorough

WINDOWS = 512


class Open:
    """An open epoch in which ada published, grace and echo answer from elsewhere, in this order of registration."""

    def __init__(self, network: Any, versions: Mapping[str, bytes]) -> None:
        self.network = network
        for name in ("ada", "grace", "echo"):
            network.register(name)
        network.publish("ada", versions["ada"])
        network.seal("open")
        network.vote(network.ask())
        for name in ("grace", "echo"):
            network.submit(Serve(endpoint=f"https://{name}.example"), network.wallets[name].hotkey())
        network.seal("open")
        self.versions = versions
        self.validator = network.validators["vera"]
        self.query = self.validator.draw(network.epoch)

    def hosted(self) -> list[Answer]:
        """What the versions of the network answer."""
        rows = self.network.keeper.view().rows
        return [
            answer
            for row in rows
            if not row.remote
            for answer in self.network.answers(row.manifest, row.uid, [self.query])
        ]

    def said(self, version: str) -> np.ndarray:
        """What a real model says: [W, 256] natural log-probabilities."""
        (answer,) = self.network.answers(self.versions[version], self.network.uid("ada"), [self.query])
        return answer.said

    def answer(self, name: str, said: np.ndarray, signer: str | None = None) -> Answer:
        """A remote peer's answer, signed by itself or by another."""
        wallet = self.network.wallets[name]
        hotkey = self.network.wallets[signer or name].hotkey()
        return sign_answer(hotkey, query=self.query.digest, version=wallet.hotkey_public(), first=0, said=said)

    def value(self, answers: Sequence[Answer], failures: Mapping[bytes, str] | None = None) -> Finding:
        """What the validator finds, from the beginning; its evidence is sound."""
        epoch = self.network.epoch
        self.validator._ballot_path(epoch).unlink(missing_ok=True)
        finding = self.validator.value(epoch, failures or {}, answers)
        assert audit(read_evidence(self.network.evidence_path(epoch, "vera"))) == []
        return finding

    def found(self, finding: Finding, name: str) -> NeuronFinding:
        """What was found about a peer."""
        return next(neuron for neuron in finding.neurons if neuron.uid == self.network.uid(name))


@pytest.fixture
def opened(found_network: Callable[..., Any], versions: Any) -> Open:
    return Open(found_network(stakes_tao={"vera": 100}, panel="next_byte", windows=WINDOWS), versions[1])


def test_remote_peers_are_asked_after_the_versions(opened: Open) -> None:
    rows = opened.network.keeper.view().rows
    assert [row.remote for row in rows] == [False, True, True]
    names = ("grace", "echo")
    assert [row.manifest for row in rows[1:]] == [opened.network.wallets[name].hotkey_public() for name in names]


def test_a_remote_peer_earns_what_its_model_adds(opened: Open) -> None:
    finding = opened.value([*opened.hosted(), opened.answer("grace", opened.said("ada 2"))])
    grace = opened.found(finding, "grace")
    assert grace.failure == ""
    assert grace.bits_per_byte < finding.baseline
    assert (grace.admitted, grace.new_bits > 0, grace.account_bits > 0) == (True, True, True)
    assert opened.found(finding, "echo").failure == "invalid: 512 of 512 windows have no answer"
    votes = opened.validator._ballot(opened.network.epoch)
    assert opened.network.uid("grace") in votes.uids
    members = {member.uid for member in votes.members}
    assert opened.network.uid("grace") not in members


def expect_nothing(opened: Open, answers: Sequence[Answer], reason: str) -> None:
    """Echo has no value and this reason, and the others are valued as if it had not answered."""
    finding = opened.value(answers)
    echo = opened.found(finding, "echo")
    assert echo.failure == reason
    assert (echo.bits_per_byte, echo.account_bits, echo.share_bits, echo.admitted) == (None, 0.0, 0.0, False)
    hotkey = opened.network.wallets["echo"].hotkey_public()
    alone = opened.value([answer for answer in answers if answer.version != hotkey])
    for name in ("ada", "grace"):
        assert opened.found(finding, name) == opened.found(alone, name)
    assert (finding.known, finding.collective) == (alone.known, alone.collective)


def test_garbage_costs_the_others_nothing(opened: Open) -> None:
    honest = [*opened.hosted(), opened.answer("grace", opened.said("ada 2"))]
    good = opened.said("grace")
    missing = good.copy()
    missing[5, 7] = np.nan
    expect_nothing(
        opened, [*honest, opened.answer("echo", missing)], "invalid: 1 of 512 distributions hold what is not a number"
    )
    expect_nothing(opened, [*honest, opened.answer("echo", good[:100])], "invalid: 412 of 512 windows have no answer")
    wide = opened.answer("echo", np.concatenate([good, good], axis=1))
    expect_nothing(opened, [*honest, wide], "invalid: the answer is float32 (512, 512), expected float32 [W, 256]")


@pytest.mark.parametrize("signer", ["grace", "operator"])
def test_nobody_answers_for_a_remote_peer_not_even_the_operator(opened: Open, signer: str) -> None:
    answers = [*opened.hosted(), opened.answer("echo", opened.said("grace"), signer)]
    expect_nothing(opened, answers, "invalid: the answer is signed by a key that does not speak for the version")


def test_of_two_that_answer_the_same_the_earlier_registered_counts(opened: Open) -> None:
    said = opened.said("ada 2")
    for order in (("grace", "echo"), ("echo", "grace")):
        answers = [*opened.hosted(), *(opened.answer(name, said) for name in order)]
        reason = f"invalid: the same answers as uid {opened.network.uid('grace')}"
        expect_nothing(opened, answers, reason)


def test_who_repeats_a_member_is_told_so(opened: Open) -> None:
    ada = opened.network.uid("ada")
    answers = [*opened.hosted(), opened.answer("echo", opened.said("ada"))]
    expect_nothing(opened, answers, f"invalid: the same answers as uid {ada}")


def test_who_looks_the_bytes_up_earns_nothing_and_refuses_nobody(opened: Open) -> None:
    target_W = opened.validator._drawn(opened.network.epoch).text_WT[:, -1]
    said = np.full((WINDOWS, 256), np.log(0.004 / 255), np.float32)
    said[np.arange(WINDOWS), target_W] = np.log(0.996)
    answers = [*opened.hosted(), opened.answer("grace", opened.said("ada 2")), opened.answer("echo", said)]
    reason = opened.found(opened.value(answers), "echo").failure
    assert reason.startswith("invalid: looked up: knows ")
    expect_nothing(opened, answers, reason)


def test_a_silent_remote_peer_changes_nothing_for_the_others(opened: Open) -> None:
    honest = [*opened.hosted(), opened.answer("grace", opened.said("ada 2"))]
    hotkey = opened.network.wallets["echo"].hotkey_public()
    late = opened.value(honest, {hotkey: "late: no answer within 2 s"})
    assert opened.found(late, "echo").failure == "late: no answer within 2 s"
    both = opened.value([*honest, opened.answer("echo", opened.said("grace"))])
    assert opened.found(late, "grace").new_bits == opened.found(both, "grace").new_bits


def test_when_a_member_cannot_be_asked_remote_peers_are_only_measured(opened: Open) -> None:
    """What the collective knew would be paid again."""
    answers = [*opened.hosted(), opened.answer("grace", opened.said("ada 2"))]
    lost = {row.manifest: "dead: gone" for row in opened.network.keeper.view().rows if row.member}
    assert lost
    grace = opened.found(opened.value(answers, lost), "grace")
    assert grace.bits_per_byte is not None
    assert (grace.new_bits, grace.admitted, grace.account_bits) == (None, False, 0.0)


def test_a_student_of_a_remote_peer_is_not_paid(opened: Open) -> None:
    """Grace answers as ada trained on; then ada publishes just that."""
    network = opened.network
    grace = opened.answer("grace", opened.said("ada 2"))
    network.vote([*opened.hosted(), grace])
    network.publish("ada", opened.versions["ada 2"])
    network.seal("open")
    opened.query = opened.validator.draw(network.epoch)
    alone = opened.found(opened.value(opened.hosted()), "ada")
    said = opened.said("ada 2")
    tilted = said + np.float32(0.01) * np.random.default_rng(0).standard_normal(said.shape, np.float32)
    tilted -= np.log(np.exp(tilted).sum(axis=1, keepdims=True))
    beside = opened.found(opened.value([*opened.hosted(), opened.answer("grace", tilted)]), "ada")
    assert alone.admitted
    assert alone.new_bits > 0.01
    assert not beside.admitted
    assert beside.failure == ""
