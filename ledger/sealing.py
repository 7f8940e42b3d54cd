"""Making and checking blocks: the same execution, once to find the roots and once to compare them.

Invariants: nothing is adopted here: the caller accepts the sealed state after it has stored the block, or undoes it; an
extrinsic that doesn't decode, is too large, or whose signature is bad never enters a block.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ledger.blocks import NO_SIGNATURE, Block, Header, Kind, compute_roots, sign_header, verify_header
from ledger.errors import Refusal
from ledger.execution import create_state, execute
from ledger.extrinsics import Extrinsic, check_signature, decode_extrinsic
from ledger.genesis import Genesis, validate_genesis
from ledger.keys import Keypair
from ledger.state import Sealed, State

VERIFYING_THREADS = min(4, os.cpu_count() or 1)
"""How many threads check the signatures of a block; their work is a block's largest part."""
_THREAD_SIGNATURES = 64
"""The fewest for which a thread is worth starting: some 4 ms of work."""


def seal_genesis(genesis: Genesis) -> tuple[State, Block, Sealed]:
    """The state and block at height 0; GenesisError if no network can start from this genesis."""
    validate_genesis(genesis)
    state = create_state(genesis)
    sealed = state.seal()
    extrinsics_root, receipts_root = compute_roots((), ())
    header = Header(
        height=0,
        parent=genesis.hash,
        term=0,
        epoch=0,
        kind="genesis",
        extrinsics_root=extrinsics_root,
        receipts_root=receipts_root,
        state_root=sealed.root,
        keeper=genesis.keeper,
    )
    return state, Block(header=header, extrinsics=(), receipts=(), signature=NO_SIGNATURE), sealed


def seal_block(
    state: State, parent: Header, kind: Kind, extrinsics: Sequence[bytes], *, term: int, keypair: Keypair
) -> tuple[Block, Sealed]:
    """Execute and sign the next block; on a Refusal the state is as it was."""
    if keypair.public != state.keeper:
        raise Refusal("wrong_block", "the key is not the keeper's that the genesis names")
    decoded = decode_extrinsics(state, extrinsics)
    try:
        receipts = tuple(execute(state, kind, decoded, height=parent.height + 1, parent=parent.hash))
        sealed = state.seal()
    except BaseException:
        state.undo()
        raise
    extrinsics_root, receipts_root = compute_roots(tuple(extrinsics), receipts)
    header = Header(
        height=parent.height + 1,
        parent=parent.hash,
        term=term,
        epoch=state.globals.epoch,
        kind=kind,
        extrinsics_root=extrinsics_root,
        receipts_root=receipts_root,
        state_root=sealed.root,
        keeper=keypair.public,
    )
    block = Block(
        header=header,
        extrinsics=tuple(extrinsics),
        receipts=receipts,
        signature=sign_header(header, keypair, state.genesis_hash),
    )
    return block, sealed


def check_block(state: State, parent: Header, block: Block) -> Sealed:
    """Execute a block that somebody else made;

    Refusal, with the state as it was, unless every field and root comes out the same.
    """
    validate_header(state, parent, block)
    decoded = decode_extrinsics(state, block.extrinsics)
    header = block.header
    try:
        receipts = tuple(execute(state, header.kind, decoded, height=header.height, parent=header.parent))
        sealed = state.seal()
        _compare(block, receipts, sealed, state.globals.epoch)
    except BaseException:
        state.undo()
        raise
    return sealed


def validate_header(state: State, parent: Header, block: Block) -> None:
    """Refusal `wrong_block` or `wrong_term` unless the keeper signed a successor of the parent."""
    header = block.header
    if header.height != parent.height + 1 or header.parent != parent.hash:
        raise Refusal("wrong_block", f"block {header.height} does not follow block {parent.height} of this chain")
    if header.term < parent.term:
        raise Refusal("wrong_term", f"the block's term is {header.term}, its parent's {parent.term}")
    if header.keeper != state.keeper or not verify_header(header, block.signature, state.genesis_hash):
        raise Refusal("wrong_block", f"block {header.height} is not signed by the keeper that the genesis names")


def decode_extrinsics(state: State, extrinsics: Sequence[bytes]) -> list[Extrinsic]:
    """The extrinsics of a block, signatures checked; Refusal for the first that may not be in one."""
    total_bytes = sum(len(data) for data in extrinsics)
    if total_bytes > state.parameters.max_block_bytes:
        most = state.parameters.max_block_bytes
        raise Refusal("block_too_large", f"the extrinsics have {total_bytes} bytes, a block takes {most}")
    decoded = [decode_extrinsic(data, max_bytes=state.parameters.max_extrinsic_bytes) for data in extrinsics]
    check_signatures(decoded, state.genesis_hash, VERIFYING_THREADS)
    return decoded


def check_signatures(extrinsics: Sequence[Extrinsic], genesis_hash: bytes, threads: int) -> None:
    """Refusal `bad_signature` unless all are signed, with the work of long lists shared among threads: libsodium runs
    without the interpreter's lock.
    """
    threads = max(1, min(threads, len(extrinsics) // _THREAD_SIGNATURES))
    parts = [extrinsics[first::threads] for first in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        # The first part is this thread's own.
        others = [pool.submit(_check_part, part, genesis_hash) for part in parts[1:]]
        _check_part(parts[0], genesis_hash)
        for other in others:
            other.result()


def _check_part(extrinsics: Sequence[Extrinsic], genesis_hash: bytes) -> None:
    for extrinsic in extrinsics:
        check_signature(extrinsic, genesis_hash)


def _compare(block: Block, receipts: tuple[str, ...], sealed: Sealed, epoch: int) -> None:
    header = block.header
    extrinsics_root, receipts_root = compute_roots(block.extrinsics, block.receipts)
    found = {
        "epoch": epoch == header.epoch,
        "receipts": receipts == block.receipts,
        "extrinsics root": extrinsics_root == header.extrinsics_root,
        "receipts root": receipts_root == header.receipts_root,
        "state root": sealed.root == header.state_root,
    }
    wrong = [name for name, equal in found.items() if not equal]
    if wrong:
        raise Refusal("wrong_block", f"executing block {header.height} gives another {' and another '.join(wrong)}")
