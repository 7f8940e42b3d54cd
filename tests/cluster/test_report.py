"""Reports: stake-weighted means, and a status that says what most of the stake saw."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.ballot import Finding, NeuronFinding
from cluster.report import Seconds, append_epoch, epoch_record, neuron_records, read_epochs, weighted_mean
from ledger.entries import Neuron


def _neuron(uid: int, manifest: bytes | None, revealed_epoch: int = -1) -> Neuron:
    key = bytes([uid]) * 32
    return Neuron(
        uid=uid,
        name=f"n{uid}",
        hotkey=key,
        coldkey=key,
        registered_at=0,
        registered_epoch=0,
        last_update=0,
        permit=False,
        manifest=manifest,
        revealed_epoch=revealed_epoch,
    )


def _finding(collective: float, neurons: tuple[NeuronFinding, ...]) -> Finding:
    return Finding(
        baseline=5.0, known=4.5, collective=collective, new_bits=0.1, new_bits_se=0.01, events=100, neurons=neurons
    )


def test_means_leave_out_what_is_missing() -> None:
    assert weighted_mean([1.0, None, 3.0], [1, 100, 3]) == pytest.approx(2.5)
    assert weighted_mean([None], [1]) is None
    assert weighted_mean([], []) is None


def test_record_of_an_epoch() -> None:
    neurons = [_neuron(0, None, 3), _neuron(1, None, 2), _neuron(2, b"m" * 32), _neuron(3, b"k" * 32)]
    late = NeuronFinding(uid=3, failure="late: no answer within 2 deadlines")
    findings = {
        0: _finding(4.0, (NeuronFinding(uid=2, bits_per_byte=4.2, new_bits=0.3), late)),
        1: _finding(4.4, (NeuronFinding(uid=2, bits_per_byte=4.6), NeuronFinding(uid=3, bits_per_byte=9.0))),
    }
    records = neuron_records(neurons, [300, 100, 0, 0], findings, 3)
    assert [record.status for record in records] == ["ok", "idle", "ok", "late"]
    assert [record.kind for record in records] == ["validator", "validator", "hosted", "hosted"]
    assert records[3].reason == "no answer within 2 deadlines"
    assert records[2].bits_per_byte == pytest.approx(4.3)
    assert records[2].new_bits == pytest.approx(0.3)
    record = epoch_record(
        epoch=3,
        height=9,
        block_hash=b"\x01" * 32,
        minted_rao=360,
        final=True,
        seconds=Seconds(query=1, value=1, train=1, close=1),
        findings=findings,
        neurons=records,
    )
    assert record.collective_bits_per_byte == pytest.approx(4.1)
    assert record.best_peer_bits_per_byte == pytest.approx(4.3)
    assert record.to_stake


def test_a_neuron_that_only_answers_from_an_endpoint_is_remote() -> None:
    endpoint = {"endpoint": "https://peer.example"}
    serving = [replace(_neuron(0, None), **endpoint), replace(_neuron(1, None, 2), **endpoint), _neuron(2, None)]
    findings = {1: _finding(4.0, (NeuronFinding(uid=0, failure="dead: the endpoint closed the connection"),))}
    records = neuron_records(serving, [0, 100, 0], findings, 3)
    assert [record.kind for record in records] == ["remote", "validator", "validator"]
    assert [record.status for record in records] == ["dead", "idle", "idle"]


def test_records_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    record = epoch_record(
        epoch=1,
        height=3,
        block_hash=bytes(32),
        minted_rao=0,
        final=True,
        seconds=Seconds(query=0, value=0, train=0, close=0),
        findings={},
        neurons=(),
    )
    path = tmp_path / "epochs.jsonl"
    assert read_epochs(path) == []
    append_epoch(path, record)
    path.write_bytes(path.read_bytes()[:-20])
    append_epoch(path, record)
    append_epoch(path, record)
    assert read_epochs(path) == [record, record]
