"""A ledger as Parquet files that pandas, Polars and DuckDB read as they are, and a ledger made of them again.

Invariants: an export is of one moment and appears whole; what is written out in columns is for people, an import
believes only the bytes beside them and executes every block again; an import appears whole or not at all.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ledger.blocks import Block, Header
from ledger.errors import DamagedLedger, GenesisError, Refusal, StoreError
from ledger.extrinsics import decode_extrinsic
from ledger.genesis import Genesis, decode_genesis, encode_genesis
from ledger.keys import encode_address
from ledger.store.chain import Chain
from ledger.store.mark import mark_path
from ledger.store.metagraph import SCHEMA as METAGRAPH
from ledger.store.metagraph import closed_epochs, metagraph_table, write_metagraphs
from ledger.store.rows import read_block, read_outline, read_pruned_height, read_votes
from ledger.trust.finality import Vote, decode_vote, encode_vote

GENESIS_KEY = b"taoray.genesis"
"""The genesis is in the metadata of blocks.parquet under this name: its canonical encoding in hex, since Polars refuses
a file whose metadata are not text.
"""
BATCH_BLOCKS = 256
_HASH = pa.string()

BLOCKS = pa.schema(
    [
        ("height", pa.int64()),
        ("epoch", pa.int64()),
        ("kind", pa.string()),
        ("term", pa.int64()),
        ("hash", _HASH),
        ("parent", _HASH),
        ("extrinsics_root", _HASH),
        ("receipts_root", _HASH),
        ("state_root", _HASH),
        ("keeper", pa.string()),
        ("extrinsics", pa.int64()),
        ("votes", pa.int64()),
        ("final", pa.bool_()),
        ("header", pa.binary()),
        ("signature", pa.binary()),
        ("signed_votes", pa.list_(pa.binary())),
    ]
)
EXTRINSICS = pa.schema(
    [
        ("height", pa.int64()),
        ("position", pa.int64()),
        ("epoch", pa.int64()),
        ("hash", _HASH),
        ("receipt", pa.string()),
        ("call", pa.string()),
        ("signer", pa.string()),
        ("nonce", pa.int64()),
        ("valid_until", pa.int64()),
        ("amount_rao", pa.int64()),
        ("fields", pa.string()),
        ("encoded", pa.binary()),
    ]
)
"""`fields` is the call as JSON, bytes in it as hex; all from `call` on is null where the block was pruned."""


def export_chain(chain: Chain, folder: str | Path) -> dict[str, int]:
    """Write blocks.parquet, extrinsics.parquet and metagraph.parquet into a new folder; the rows in each.

    StoreError if the folder is there already.
    """
    folder = Path(folder)
    if folder.exists():
        raise StoreError(f"{folder}: there is something here already; name a new folder")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    metadata = {GENESIS_KEY: encode_genesis(chain.genesis).hex().encode()}
    try:
        with chain.database.snapshot():
            rows = {
                "blocks": _write(partial, "blocks", BLOCKS.with_metadata(metadata), _block_batches(chain)),
                "extrinsics": _write(partial, "extrinsics", EXTRINSICS, _extrinsic_batches(chain)),
                "metagraph": _write(partial, "metagraph", METAGRAPH, _metagraphs(chain)),
            }
        partial.replace(folder)
    except OSError as error:
        raise StoreError(f"{folder}: the export can't be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return rows


def import_chain(folder: str | Path, path: str | Path) -> Chain:
    """Make a ledger at `path` of an export, every block executed and compared again, and open it to write.

    StoreError if there is a ledger already, or the export is none or pruned; DamagedLedger if a block does not follow.
    """
    folder, path = Path(folder), Path(path)
    if path.exists():
        raise StoreError(f"{path}: there is a ledger here already; name a new home")
    partial = path.with_name(f"{path.name}.import")
    _remove(partial)
    try:
        with Chain.create(partial, read_exported_genesis(folder)) as chain:
            for block, votes in read_export(folder):
                _append(chain, block, votes)
        partial.replace(path)
        mark_path(partial).replace(mark_path(path))
    finally:
        _remove(partial)
    imported = Chain.open(path, write=True)
    write_metagraphs(imported)
    return imported


def read_exported_genesis(folder: Path) -> Genesis:
    """The genesis of an export; StoreError if there is none."""
    try:
        metadata = pq.read_schema(folder / "blocks.parquet").metadata or {}
        return decode_genesis(bytes.fromhex(metadata[GENESIS_KEY].decode()))
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise StoreError(f"{folder}: this is no export of a ledger ({error})") from None
    except GenesisError as error:
        raise DamagedLedger(0, f"the genesis in {folder} can't be read: {error}") from None


def read_export(folder: Path) -> Iterator[tuple[Block, list[Vote]]]:
    """The blocks of an export with their votes, as its bytes say; nothing is checked here but that they decode."""
    extrinsics = _read_rows(folder / "extrinsics.parquet", ["height", "receipt", "encoded"])
    following = next(extrinsics, None)
    for row in _read_rows(folder / "blocks.parquet", ["height", "header", "signature", "signed_votes"]):
        height, bodies, receipts = row["height"], [], []
        while following is not None and following["height"] == height:
            if following["encoded"] is None:
                raise StoreError(f"{folder}: block {height} was pruned before the export; an import needs every body")
            bodies.append(following["encoded"])
            receipts.append(following["receipt"])
            following = next(extrinsics, None)
        try:
            header = msgspec.msgpack.decode(row["header"], type=Header)
            votes = [decode_vote(vote) for vote in row["signed_votes"]]
        except ValueError as error:
            raise DamagedLedger(height, f"the block in {folder} can't be read: {error}") from None
        block = Block(header=header, extrinsics=tuple(bodies), receipts=tuple(receipts), signature=row["signature"])
        yield block, votes
    if following is not None:
        raise DamagedLedger(following["height"], f"{folder} has extrinsics of a block that it does not have")


def _append(chain: Chain, block: Block, votes: list[Vote]) -> None:
    try:
        if block.height == 0:
            if block != chain.block(0):
                raise DamagedLedger(0, "block 0 is not the one that the genesis gives")
            return
        chain.append(block)
        if votes:
            chain.add_votes(block.height, votes)
    except Refusal as refusal:
        raise DamagedLedger(chain.head.height + 1, refusal.sentence) from None


def _remove(path: Path) -> None:
    for place in (path, mark_path(path), *(path.with_name(path.name + end) for end in ("-wal", "-shm", ".lock"))):
        place.unlink(missing_ok=True)


def _write(folder: Path, name: str, schema: pa.Schema, tables: Iterator[pa.Table]) -> int:
    count = 0
    with pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata))
            count += table.num_rows
    return count


def _block_batches(chain: Chain) -> Iterator[pa.Table]:
    for first in range(0, chain.head.height + 1, BATCH_BLOCKS):
        last = min(first + BATCH_BLOCKS, chain.head.height + 1)
        yield pa.Table.from_pylist([_block_row(chain, height) for height in range(first, last)], schema=BLOCKS)


def _block_row(chain: Chain, height: int) -> dict[str, Any]:
    outline, votes = read_outline(chain.database, height), read_votes(chain.database, height)
    header = outline.header
    return {
        "height": height,
        "epoch": header.epoch,
        "kind": header.kind,
        "term": header.term,
        "hash": header.hash.hex(),
        "parent": header.parent.hex(),
        "extrinsics_root": header.extrinsics_root.hex(),
        "receipts_root": header.receipts_root.hex(),
        "state_root": header.state_root.hex(),
        "keeper": encode_address(header.keeper),
        "extrinsics": len(outline.hashes),
        "votes": len(votes),
        "final": chain.is_final(height),
        "header": msgspec.msgpack.encode(header),
        "signature": outline.signature,
        "signed_votes": [encode_vote(vote) for vote in votes],
    }


def _extrinsic_batches(chain: Chain) -> Iterator[pa.Table]:
    pruned = read_pruned_height(chain.database)
    for height in range(chain.head.height + 1):
        outline = read_outline(chain.database, height)
        bodies = () if height <= pruned else read_block(chain.database, height).extrinsics
        rows: list[dict[str, Any]] = [
            {"height": height, "position": at, "epoch": outline.header.epoch, "hash": digest.hex(), "receipt": receipt}
            for at, (digest, receipt) in enumerate(zip(outline.hashes, outline.receipts, strict=True))
        ]
        for row, data in zip(rows, bodies, strict=False):
            row |= _extrinsic_columns(data)
        if rows:
            yield pa.Table.from_pylist(rows, schema=EXTRINSICS)


def _extrinsic_columns(data: bytes) -> dict[str, Any]:
    extrinsic = decode_extrinsic(data)
    fields = msgspec.to_builtins(extrinsic.call, builtin_types=(bytes,))
    return {
        "call": fields.pop("type"),
        "signer": encode_address(extrinsic.signer),
        "nonce": extrinsic.nonce,
        "valid_until": extrinsic.valid_until,
        "amount_rao": getattr(extrinsic.call, "amount_rao", None),
        "fields": msgspec.json.encode(_shown(fields)).decode(),
        "encoded": data,
    }


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shown(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(inner) for inner in value]
    return value.hex() if isinstance(value, bytes) else value


def _metagraphs(chain: Chain) -> Iterator[pa.Table]:
    write_metagraphs(chain)
    for epoch in range(1, closed_epochs(chain) + 1):
        yield metagraph_table(chain, epoch)


def _read_rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: this is no export of a ledger ({error})") from None
