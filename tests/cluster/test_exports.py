"""Exports to places that pyarrow opens: whole or not at all, sent again where they are missing, told where not."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.archive import export_ledger, import_ledger
from cluster.config import Storage
from cluster.exports import LAST, RETRY_S, Place, bounded, publish_epoch
from cluster.home import Home
from cluster.show import Quiet
from ledger.errors import StoreError
from ledger.store.archive import import_chain, read_export
from ledger.store.chain import Chain
from ledger.store.metagraph import metagraph_table

RECORDED = Path(__file__).parents[1] / "ledger" / "recorded"
EPOCHS = 5


class Notes(Quiet):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, sentence: str) -> None:
        self.told.append(sentence)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with five closed epochs of a network that ran."""
    place = Home(tmp_path_factory.mktemp("home"))
    place.chain.parent.mkdir(parents=True)
    import_chain(RECORDED, place.chain).close()
    return place


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A place that is not there yet."""
    return (tmp_path / "bucket" / "market").as_uri()


def test_a_ledger_goes_to_a_uri_and_comes_back(home: Home, uri: str, tmp_path: Path) -> None:
    rows = export_ledger(home.folder, uri)
    assert rows["blocks"] == 3 * EPOCHS + 1
    assert Place(uri).names() == ["blocks.parquet", "extrinsics.parquet", "metagraph.parquet"]
    verified = import_ledger(uri, tmp_path / "again")
    with Chain.open(home.chain) as chain:
        assert (verified.height, verified.block_hash) == (chain.head.height, chain.head_hash)
    with pytest.raises(StoreError, match="something here already"):
        export_ledger(home.folder, uri)


def test_an_export_that_did_not_end_is_none_and_is_made_anew(home: Home, uri: str, tmp_path: Path) -> None:
    export_ledger(home.folder, uri)
    (tmp_path / "bucket" / "market" / LAST).unlink()
    with pytest.raises(StoreError, match="no export of a ledger"):
        import_ledger(uri, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    export_ledger(home.folder, uri)
    assert len(list(read_export(tmp_path / "bucket" / "market"))) == 3 * EPOCHS + 1


@pytest.mark.parametrize("uri", ["s4://bucket/x", "file://", "file:///", "://"])
def test_what_is_no_place_is_named(home: Home, uri: str) -> None:
    with pytest.raises(StoreError, match=f"no place for exports at '{uri.rstrip('/')}"):
        export_ledger(home.folder, uri)


def test_keys_in_a_uri_are_never_told() -> None:
    assert Place("s3://name:secret@bucket/prefix/?region=us-east-1&scheme=http").uri == "s3://bucket/prefix"
    with pytest.raises(StoreError, match="'s3://bucket/prefix': ") as refused:
        Place("s3://name:secret@bucket/prefix?region=us-east-1&nonsense=1")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "limit"),
    [
        ("gs://anonymous@bucket/x", f"?retry_limit_seconds={RETRY_S}"),
        ("gs://anonymous@bucket/x?scheme=https", f"&retry_limit_seconds={RETRY_S}"),
        ("gs://anonymous@bucket/x?retry_limit_seconds=5", ""),
        ("file:///tmp/x", ""),
    ],
)
def test_no_bucket_is_waited_for_long(uri: str, limit: str) -> None:
    assert bounded(uri) == uri + limit
    assert Place(uri).uri == uri.partition("?")[0].replace("anonymous@", "")


def test_each_epoch_sends_its_metagraph_and_what_is_missing(home: Home, uri: str, tmp_path: Path) -> None:
    notes = Notes()
    publish_epoch(Storage(exports=uri), home, EPOCHS - 1, notes)
    sent = tmp_path / "bucket" / "market" / "metagraph"
    assert sorted(path.name for path in sent.iterdir()) == [f"epoch={n:06d}.parquet" for n in range(1, EPOCHS)]
    (sent / "epoch=000002.parquet").unlink()
    publish_epoch(Storage(exports=uri), home, EPOCHS, notes)
    assert notes.told == []
    with Chain.open(home.chain) as chain:
        for epoch in range(1, EPOCHS + 1):
            assert pq.read_table(sent / f"epoch={epoch:06d}.parquet", partitioning=None).equals(
                metagraph_table(chain, epoch)
            )
    assert not (sent.parent / "ledger").exists()


def test_now_and_then_the_whole_ledger_is_sent_once(home: Home, uri: str, tmp_path: Path) -> None:
    notes, sent = Notes(), tmp_path / "bucket" / "market" / "ledger"

    def publish(epoch: int, every: int) -> list[str]:
        publish_epoch(Storage(exports=uri, export_epochs=every), home, epoch, notes)
        return sorted(path.name for path in sent.glob("*"))

    assert publish(EPOCHS, EPOCHS + 1) == []
    assert publish(3, 2) == ["epoch=000003"], "epoch 2 was missed"
    assert publish(3, 2) == ["epoch=000003"]
    assert publish(4, 2) == ["epoch=000003", "epoch=000004"]
    (sent / "epoch=000004" / LAST).unlink()
    assert publish(5, 2) == ["epoch=000003", "epoch=000004", "epoch=000005"], "what did not end counts for nothing"
    assert len(list(read_export(sent / "epoch=000005"))) == 3 * EPOCHS + 1
    assert notes.told == []


def test_a_place_that_refuses_is_told_and_ends_nothing(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    notes = Notes()
    for uri in ((tmp_path / "file" / "below").as_uri(), "s4://nowhere/x"):
        publish_epoch(Storage(exports=uri), home, 1, notes)
    assert len(notes.told) == 2
    assert all(told.startswith("epoch 1 was not exported: ") and "\n" not in told for told in notes.told)
    publish_epoch(Storage(), home, 1, notes)
    assert len(notes.told) == 2
