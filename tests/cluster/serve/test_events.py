"""Server-sent events: epochs as they close."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cluster.report import EpochRecord, Seconds, append_epoch
from cluster.serve import reading
from cluster.serve.reading import Feed


def get(url: str, **options: Any) -> requests.Response:
    return requests.get(url, timeout=30, **options)


def record(epoch: int) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        height=3 * epoch,
        block_hash="00",
        collective_bits_per_byte=2.0,
        best_peer_bits_per_byte=None,
        baseline_bits_per_byte=5.0,
        new_bits=0.1,
        minted_rao=1,
        to_stake=False,
        final=True,
        seconds=Seconds(query=1, value=1, train=1, close=1),
        neurons=(),
    )


def epochs_of(stream: requests.Response) -> Iterator[int]:
    """The epochs of the events, as they come. Dropped, it closes the stream."""
    for line in stream.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            yield json.loads(line[6:])["epoch"]


def test_epochs_are_streamed_as_they_close(url: str, home: Path) -> None:
    for epoch in (1, 2, 3):
        append_epoch(home / "epochs.jsonl", record(epoch))
    with get(f"{url}/events?after=1", stream=True) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        epochs = epochs_of(stream)
        assert [next(epochs), next(epochs)] == [2, 3]
        append_epoch(home / "epochs.jsonl", record(4))
        assert next(epochs) == 4
    with get(f"{url}/events", headers={"Last-Event-ID": "3"}, stream=True) as stream:
        assert next(epochs_of(stream)) == 4


def test_an_epoch_that_a_crash_cut_off_is_passed_over(url: str, home: Path) -> None:
    append_epoch(home / "epochs.jsonl", record(1))
    whole = (home / "epochs.jsonl").read_bytes()
    (home / "epochs.jsonl").write_bytes(whole + whole[: len(whole) // 2])
    with get(f"{url}/events", stream=True) as stream:
        epochs = epochs_of(stream)
        assert next(epochs) == 1
        append_epoch(home / "epochs.jsonl", record(2))
        assert next(epochs) == 2


def test_streams_are_bounded_by_address(reading_url: str) -> None:
    streams = [get(f"{reading_url}/events", stream=True) for _ in range(8)]
    heard = [stream.iter_content(1) for stream in streams]
    assert {next(bytes_) for bytes_ in heard} == {b":"}
    assert get(f"{reading_url}/events").json()["code"] == "busy"
    for stream in streams:
        stream.close()


def test_the_feed_finds_every_epoch_whatever_it_reads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "epochs.jsonl"
    for block_bytes in (1, 64, 500, 1 << 20):
        monkeypatch.setattr(reading, "READ_BYTES", block_bytes)
        path.unlink(missing_ok=True)
        feed = Feed(path)
        assert feed.after(0) == []
        for epoch in range(1, 8):
            append_epoch(path, record(epoch))
            if epoch == 3:
                assert [number for number, _ in feed.after(1)] == [2, 3]
            if epoch == 5:
                path.write_bytes(path.read_bytes() + b'\n{"epoch": 9, "hei')
        found = feed.after(0)
        assert [number for number, _ in found] == list(range(1, 8))
        assert [json.loads(line)["epoch"] for _, line in found] == list(range(1, 8))
        assert [number for number, _ in feed.after(2, most=3)] == [3, 4, 5]


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 16)
    monkeypatch.setattr(reading, "MOST_RECORD_BYTES", 2048)
    path = tmp_path / "epochs.jsonl"
    path.write_bytes(b"x" * 100_000)
    append_epoch(path, record(1))
    assert [number for number, _ in Feed(path).after(0)] == [1]
