"""Blocks of a network that ran: derived again from genesis they give the same bits, on any machine and NumPy build.

`recorded/` is what `taoray ledger export` wrote of four epochs of the network in tests/cluster/tiny.toml: three
validators' votes on models that trained, a transfer, a stake, and a transfer that was refused.
"""

from pathlib import Path

from ledger.store.archive import import_chain
from ledger.store.replay import verify

RECORDED = Path(__file__).parent / "recorded"
BLOCK_HASH = "4616a3cc73946deeb4469b34d4b71732d03852ba3eba1bccd13ef955848e137f"
STATE_ROOT = "acb23727780aada6a2d42709eca8c401e63f3de3ea4252bf154b39ba64f4969c"


def test_recorded_blocks_give_the_same_bits_again(tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    import_chain(RECORDED, path).close()
    verified = verify(path)
    assert (verified.height, verified.epoch, verified.final_height) == (12, 4, 12)
    assert verified.block_hash.hex() == BLOCK_HASH
    assert verified.state_root.hex() == STATE_ROOT
    assert verified.minted_rao == 4 * 360 * 10**9
    assert verified.issuance_rao == 2574152024000
