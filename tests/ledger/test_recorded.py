"""Blocks of a network that ran: derived again from genesis they give the same bits, on any machine and NumPy build.

`recorded/` is what `taoray ledger export` wrote of five epochs of the network in tests/cluster/cohort.toml: three
validators' votes on models that trained, four rounds of a cohort with a cheat, two transfers, a stake, and a transfer
that was refused.
"""

from pathlib import Path

from ledger.store.archive import import_chain
from ledger.store.replay import verify

RECORDED = Path(__file__).parent / "recorded"
BLOCK_HASH = "8f009482ef5f2be1f5dc7a11b9d9f33b8aca91aa3ef98acd64137a8f76abc162"
STATE_ROOT = "2f361c8e5167c3788ce48275820364ead57c97fa8d024c5eb859a63f6d2a1be5"


def test_recorded_blocks_give_the_same_bits_again(tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    import_chain(RECORDED, path).close()
    verified = verify(path)
    assert (verified.height, verified.epoch, verified.final_height) == (15, 5, 15)
    assert verified.block_hash.hex() == BLOCK_HASH
    assert verified.state_root.hex() == STATE_ROOT
    assert verified.minted_rao == 5 * 360 * 10**9
    assert verified.issuance_rao == 2941631550240
