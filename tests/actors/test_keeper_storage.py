"""The keeper prunes as it is told, and goes on from a pruned ledger."""

from pathlib import Path

import pytest

from actors.keeper import Keeper, KeeperSettings
from ledger.errors import Pruned
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.metagraph import metagraph_table
from ledger.store.replay import verify
from ledger.trust.finality import sign_vote
from ledger.wallet import Wallet


def test_old_bodies_go_when_there_are_twice_as_many_as_are_kept(tmp_path: Path) -> None:
    operator, _ = Wallet.create(tmp_path / "wallets", "operator")
    validator = Keypair.from_seed(bytes(32))
    genesis = Genesis(
        network="pruned",
        keeper=operator.hotkey().public,
        stakes=((validator.public, operator.coldkey_public, 10**12),),
        neurons=(
            GenesisNeuron(hotkey=validator.public, coldkey=operator.coldkey_public, name="validator", permit=True),
        ),
    )
    Chain.create(tmp_path / "chain.db", genesis).close()
    settings = KeeperSettings(
        chain=str(tmp_path / "chain.db"),
        mempool=str(tmp_path / "mempool.db"),
        wallets=str(tmp_path / "wallets"),
        operator="operator",
        keep_epochs=2,
    )
    pruned = []
    for epoch in range(1, 8):
        keeper = Keeper(settings)
        keeper.wake()
        for kind in ("open", "commit", "close"):
            sealed = keeper.seal(kind, epoch)
            [block] = keeper.blocks(sealed.height)
            assert keeper.add_votes(sealed.height, [sign_vote(block.header, validator, genesis.hash)]).final
        keeper.close()
        with Chain.open(tmp_path / "chain.db") as chain:
            pruned.append(chain.pruned_height)
    assert pruned == [0, 0, 0, 6, 6, 12, 12]
    assert verify(tmp_path / "chain.db").replayed_from == 12
    with Chain.open(tmp_path / "chain.db") as chain:
        assert [metagraph_table(chain, epoch).num_rows for epoch in range(1, 8)] == [1] * 7
        with pytest.raises(Pruned):
            chain.block(12)
