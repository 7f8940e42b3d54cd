"""What the driver signs for the wallets of its home: calls in order of nonce, ready for the queue.

Invariants: nothing is signed with a key whose extrinsics wait in the queue by mistake: who signs asks `waits` first,
and holds the queue meanwhile.
"""

from collections.abc import Sequence

from cluster.run import Run
from ledger.extrinsics import Call, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair
from ledger.wallet import Wallet

VALID_BLOCKS = 12
"""For how many blocks a registration or publication stays valid: a few epochs, should the run be interrupted."""


def sign_calls(run: Run, keypair: Keypair, calls: Sequence[Call]) -> list[bytes]:
    """Extrinsics with a key's next nonces, encoded."""
    nonce: int = run.leading.ask("next_nonce", keypair.public)
    valid_until = run.position().height + VALID_BLOCKS
    return [
        encode_extrinsic(
            sign_extrinsic(call, keypair, genesis_hash=run.genesis.hash, nonce=nonce + place, valid_until=valid_until)
        )
        for place, call in enumerate(calls)
    ]


def waits(run: Run, public: bytes) -> bool:
    """Whether extrinsics of a key are in the queue."""
    waiting: bool = run.leading.ask("waiting", public)
    return waiting


def hotkey_of(run: Run, name: str) -> Keypair:
    """The hotkey of one of the home's wallets."""
    return Wallet.open(run.home.wallets, name).hotkey()


def coldkey_of(run: Run, name: str) -> Keypair:
    """The coldkey of one of the home's wallets."""
    return Wallet.open(run.home.wallets, name).coldkey()
