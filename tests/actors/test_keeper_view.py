"""What the keeper shows of the cohorts, and of the block that the next epoch's pages are drawn from."""

from pathlib import Path

from actors.keeper import Keeper, KeeperSettings
from ledger.extrinsics import Contribute, encode_extrinsic, sign_extrinsic
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.trust.finality import sign_vote
from ledger.wallet import Wallet

COHORT = b"\1" * 32


def test_contributions_stay_until_the_next_open_block_whose_past_is_foretold(tmp_path: Path) -> None:
    operator, _ = Wallet.create(tmp_path / "wallets", "operator")
    validator = Keypair.from_seed(bytes(32))
    genesis = Genesis(
        network="view",
        keeper=operator.hotkey().public,
        stakes=((validator.public, operator.coldkey_public, 10**12),),
        neurons=(
            GenesisNeuron(hotkey=validator.public, coldkey=operator.coldkey_public, name="validator", permit=True),
        ),
    )
    Chain.create(tmp_path / "chain.db", genesis).close()
    keeper = Keeper(
        KeeperSettings(
            chain=str(tmp_path / "chain.db"),
            mempool=str(tmp_path / "mempool.db"),
            wallets=str(tmp_path / "wallets"),
            operator="operator",
        )
    )
    keeper.wake()
    call = Contribute(cohort=COHORT, epoch=1, parameters=bytes(32), payload=b"\2" * 32)
    extrinsic = sign_extrinsic(call, validator, genesis_hash=genesis.hash, nonce=1, valid_until=9)
    assert keeper.submit([encode_extrinsic(extrinsic)]) == ["ok"]
    assert keeper.view().contributions == {}
    for epoch in (1, 2):
        foretold = keeper.view().close_hash
        assert foretold == keeper.position().block_hash
        for kind in ("open", "commit", "close"):
            sealed = keeper.seal(kind, epoch)
            assert sealed.refused == ()
            [block] = keeper.blocks(sealed.height)
            assert keeper.add_votes(sealed.height, [sign_vote(block.header, validator, genesis.hash)]).final
            view = keeper.view()
            assert view.previous_close_hash == foretold
            assert view.close_hash == (block.hash if kind == "close" else foretold)
            assert [(uid, row.epoch) for uid, row in view.contributions.items()] == ([(0, 1)] if epoch == 1 else [])
            assert view.cohorts == {}, "no validator said a word about it"
    keeper.close()
