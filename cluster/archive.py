"""What is done with a home's ledger as a whole: proofs from it, exports and imports, pruning and migration.

Invariants: nothing here needs Ray or a running network; what writes takes the ledger's lock, so a running keeper is
never disturbed; a hash is hex, with or without 0x before it.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError, ConfigurationError
from cluster.exports import fetched_export, is_uri, send_export
from cluster.home import Home
from ledger.errors import StoreError
from ledger.keys import decode_address
from ledger.store.archive import export_chain, import_chain
from ledger.store.chain import Chain
from ledger.store.database import FORMAT, Database
from ledger.store.proving import prove_account, prove_extrinsic
from ledger.store.pruning import prune
from ledger.store.replay import Verified, verify
from ledger.trust.proofs import Proven, decode_proof, encode_proof
from ledger.trust.proofs import check_proof as check


def open_chain(home: Path | str, *, write: bool = False) -> Chain:
    """The ledger of a home. ClusterError if there is none."""
    return Chain.open(_place(home).chain, write=write)


def prove(home: Path | str, *, extrinsic: str | None = None, account: str | None = None) -> dict[str, Any]:
    """A proof, as a JSON document, of an extrinsic (its hash) or of an account at the last block (its address).

    Raises:
        StoreError: no block has the extrinsic. InvalidKey: that is no address.
    """
    if (extrinsic is None) == (account is None):
        raise ConfigurationError("prove", "name either an extrinsic's hash or an account's address")
    extrinsic_hash = b"" if extrinsic is None else _hash("extrinsic", extrinsic)
    public = b"" if account is None else decode_address(account)
    with open_chain(home) as chain:
        proof = prove_account(chain, public) if account else prove_extrinsic(chain, extrinsic_hash)
    document: dict[str, Any] = encode_proof(proof)
    return document


def check_proof(
    document: bytes, *, block_hash: str | None = None, genesis_hash: str | None = None, final: bool = False
) -> Proven:
    """What a proof proves with the header that is in it; no ledger is read.

    Args:
        block_hash, genesis_hash: what the block and the network have to be; None: what the proof says.
        final: the votes that made the block final have to be in it.

    Raises:
        InvalidProof: it proves nothing, or not that.
    """
    return check(
        decode_proof(document),
        block_hash=None if block_hash is None else _hash("block", block_hash),
        genesis_hash=None if genesis_hash is None else _hash("genesis", genesis_hash),
        final=final,
    )


def export_ledger(home: Path | str, folder: Path | str) -> dict[str, int]:
    """Write blocks.parquet, extrinsics.parquet and metagraph.parquet into a new folder; the rows of each.

    `folder`: a path, or a URI that pyarrow opens. StoreError where there is something already, or it can't be written.
    """
    with open_chain(home) as chain:
        return send_export(chain, str(folder)) if is_uri(folder) else export_chain(chain, folder)


def import_ledger(folder: Path | str, home: Path | str) -> Verified:
    """Make the ledger of a new home from an export, executing every block, and verify it.

    `folder`: a path, or a URI that pyarrow opens. StoreError where there is no export, or the home has a ledger.
    """
    place = Home(Path(home).absolute())
    with fetched_export(str(folder)) if is_uri(folder) else nullcontext(Path(folder)) as export:
        place.chain.parent.mkdir(parents=True, exist_ok=True)
        import_chain(export, place.chain).close()
    return verify(place.chain)


def prune_ledger(home: Path | str, keep_epochs: int) -> int:
    """Give up bodies older than the last closed epochs; the height up to which they are gone. NotWriter if it runs."""
    with open_chain(home, write=True) as chain:
        return prune(chain, keep_epochs)


def migrate_ledger(home: Path | str) -> tuple[int, int]:
    """Bring a home's ledger to this version's format; the format it had, and has. Opening it to run does the same."""
    path = _place(home).chain
    database = Database(path, write=False)
    try:
        written = database.format()
    finally:
        database.close()
    if written == 0:
        raise StoreError(f"{path}: the file holds no ledger")
    Chain.open(path, write=True).close()
    return written, FORMAT


def _place(home: Path | str) -> Home:
    place = Home(Path(home).absolute())
    if not place.chain.exists():
        raise ClusterError(f"there is no network in {place.folder}: launch one, or name another --home")
    return place


def _hash(what: str, text: str) -> bytes:
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) != 32:
        raise ConfigurationError(what, f"{text!r} is no hash: expected 64 hexadecimal digits")
    return data
