"""Blocks of a network that ran: derived again from genesis they give the same bits, on any machine and NumPy build.

`recorded/` is what `taoray ledger export` wrote of four epochs of the network in tests/cluster/tiny.toml: three
validators' votes on models that trained, a transfer, a stake, and a transfer that was refused.
"""

from pathlib import Path

from ledger.store.archive import import_chain
from ledger.store.replay import verify

RECORDED = Path(__file__).parent / "recorded"
BLOCK_HASH = "6b7e2dc9fee9eaf98d1e4ec581e40c93490846b035b64fe397f275d6a482c560"
STATE_ROOT = "50d2733a24ed88ce9b1262a988c27c600765b9ca22823b3666287e77f139b0dd"


def test_recorded_blocks_give_the_same_bits_again(tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    import_chain(RECORDED, path).close()
    verified = verify(path)
    assert (verified.height, verified.epoch, verified.final_height) == (12, 4, 12)
    assert verified.block_hash.hex() == BLOCK_HASH
    assert verified.state_root.hex() == STATE_ROOT
    assert verified.minted_rao == 4 * 360 * 10**9
    assert verified.issuance_rao == 2574152024000
