"""Cheating answers in a next_byte network: each gets no value and its reason, and the others' values do not move."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from actors.ballot import Finding, NeuronFinding
from actors.wire import Answer, sign_answer
from cluster.report import neuron_records
from models.text.windows import Windows

pytestmark = pytest.mark.thorough

WINDOWS = 512


class Asked:
    """An open epoch of a network in which ada, grace and echo published, and what the models answer."""

    def __init__(self, network: Any, versions: Mapping[str, bytes]) -> None:
        self.network = network
        for name in ("ada", "grace", "echo"):
            network.register(name)
            network.publish(name, versions[name])
        network.seal("open")
        self.validator = network.validators["vera"]
        self.answers: list[Answer] = network.ask()

    def of(self, name: str) -> Answer:
        """The honest answer of a peer."""
        return next(answer for answer in self.answers if answer.version == self.network.version(name))

    def windows(self) -> Windows:
        """What the validator holds back, too."""
        return self.validator._drawn(1)

    def lie(self, said: np.ndarray, name: str = "echo") -> Answer:
        """Echo's answer with other content, signed by echo."""
        honest = self.of(name)
        hotkey = self.network.wallets[name].hotkey()
        return sign_answer(hotkey, query=honest.query, version=honest.version, first=0, said=said)

    def value(self, answers: Sequence[Answer], failures: Mapping[bytes, str] | None = None) -> Finding:
        """What the validator finds, from the beginning."""
        self.validator._ballot_path(1).unlink(missing_ok=True)
        return self.validator.value(1, failures or {}, answers)

    def without_echo(self) -> list[Answer]:
        """The honest answers of the others."""
        return [answer for answer in self.answers if answer.version != self.network.version("echo")]

    def found(self, finding: Finding, name: str) -> NeuronFinding:
        """What was found about a peer."""
        return next(neuron for neuron in finding.neurons if neuron.uid == self.network.uid(name))


@pytest.fixture
def asked(found_network: Callable[..., Any], versions: Any) -> Asked:
    network = found_network(stakes_tao={"vera": 100}, panel="next_byte", windows=WINDOWS)
    return Asked(network, versions[1])


def expect_no_value(asked: Asked, finding: Finding, reason: str) -> None:
    """Echo has no value and this reason, and the others are valued as if echo had not answered."""
    echo = asked.found(finding, "echo")
    assert echo.failure == reason
    assert (echo.bits_per_byte, echo.account_bits, echo.share_bits, echo.admitted) == (None, 0.0, 0.0, False)
    alone = asked.value(asked.without_echo())
    for name in ("ada", "grace"):
        assert asked.found(finding, name) == asked.found(alone, name)
        assert asked.found(finding, name).failure == ""
    assert (finding.collective, finding.new_bits) == (alone.collective, alone.new_bits)


def test_honest_models_are_paid_by_the_bytes_that_were_held_back(asked: Asked) -> None:
    finding = asked.value(asked.answers)
    assert finding.events == WINDOWS
    assert finding.collective < finding.baseline - 0.3
    assert all(not asked.found(finding, name).failure for name in ("ada", "grace", "echo"))
    query = asked.validator.draw(1)
    assert query.text_WT.shape[1] == asked.windows().text_WT.shape[1] - 1, "the targets stay with the validator"


def test_one_hot_answers(asked: Asked) -> None:
    honest = asked.of("echo").said
    guess_W = honest.argmax(axis=1)
    said = np.full_like(honest, -np.inf)
    said[np.arange(WINDOWS), guess_W] = 0.0
    wrong = int((guess_W != asked.windows().text_WT[:, -1]).sum())
    finding = asked.value([*asked.without_echo(), asked.lie(said)])
    expect_no_value(asked, finding, f"invalid: was certain of {WINDOWS} bytes and wrong about {wrong} of them")


def test_probabilities_that_sum_to_2(asked: Asked) -> None:
    said = np.minimum(asked.of("echo").said + np.float32(np.log(2.0)), 0.0)
    said[:, 0] = np.log(2.0 - np.exp(said[:, 1:]).sum(axis=1))
    finding = asked.value([*asked.without_echo(), asked.lie(np.where(said > 0, np.float32(-1.0), said))])
    reason = asked.found(finding, "echo").failure
    assert reason.startswith("invalid: ")
    assert "distributions do not sum to 1" in reason
    expect_no_value(asked, finding, reason)


def test_not_a_number(asked: Asked) -> None:
    said = asked.of("echo").said.copy()
    said[3, 200] = np.nan
    finding = asked.value([*asked.without_echo(), asked.lie(said)])
    expect_no_value(asked, finding, f"invalid: 1 of {WINDOWS} distributions hold what is not a number")


def test_late(asked: Asked) -> None:
    reason = "late: no answer within 2 deadlines"
    late = {asked.network.version("echo"): reason}
    expect_no_value(asked, asked.value(asked.answers, late), reason)


def test_copied_from_another_peer(asked: Asked) -> None:
    copied = asked.of("grace").said.copy()
    copied[:40] = asked.of("echo").said[:40]
    finding = asked.value([*asked.without_echo(), asked.lie(copied)])
    expect_no_value(asked, finding, f"invalid: the same answers as uid {asked.network.uid('grace')}")


def test_looked_up(asked: Asked) -> None:
    target_W = asked.windows().text_WT[:, -1]
    said = np.full((WINDOWS, 256), np.log(0.004 / 255), np.float32)
    said[np.arange(WINDOWS), target_W] = np.log(0.996)
    finding = asked.value([*asked.without_echo(), asked.lie(said)])
    reason = asked.found(finding, "echo").failure
    assert reason.startswith("invalid: looked up: knows ")
    expect_no_value(asked, finding, reason)


def test_what_was_looked_up_now_and_then_is_told(asked: Asked) -> None:
    target_W = asked.windows().text_WT[:, -1]
    said = asked.of("echo").said.copy()
    said[:200] = np.log(0.004 / 255)
    said[np.arange(200), target_W[:200]] = np.log(0.996)
    finding = asked.value([*asked.without_echo(), asked.lie(said)])
    echo = asked.found(finding, "echo")
    assert echo.failure == ""
    assert 100 < echo.looked_up <= 200
    assert asked.found(finding, "ada").looked_up < 20


def test_signed_by_another(asked: Asked) -> None:
    honest = asked.of("echo")
    stolen = asked.network.wallets["grace"].hotkey()
    forged = sign_answer(stolen, query=honest.query, version=honest.version, first=0, said=honest.said)
    finding = asked.value([*asked.without_echo(), forged])
    expect_no_value(asked, finding, "invalid: the answer is signed by a key that does not speak for the version")


def test_the_reason_stands_in_the_record_of_the_epoch(asked: Asked) -> None:
    said = asked.of("echo").said + np.float32(0.5)
    network = asked.network
    findings = network.vote([*asked.without_echo(), asked.lie(said)])
    view = network.keeper.view()
    by_uid = {network.uid(name): finding for name, finding in findings.items()}
    records = {record.name: record for record in neuron_records(view.neurons, view.stakes_rao, by_uid, 1)}
    assert records["echo"].status == "invalid"
    assert "distributions" in records["echo"].reason
    assert records["echo"].incentive == 0
    assert records["ada"].status == records["grace"].status == "ok"
    assert records["ada"].incentive + records["grace"].incentive == pytest.approx(1)
