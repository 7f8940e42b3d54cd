"""The metagraph of closed epochs, as Arrow tables and Parquet files."""

import pyarrow.parquet as pq
import pytest

from ledger.epoch.fixed import ONE_Q31
from ledger.errors import StoreError
from ledger.extrinsics import Checkpoint, Serve, SetIdentity, SetTake
from ledger.keys import encode_address
from ledger.store.chain import Chain
from ledger.store.metagraph import metagraph_table, write_metagraphs
from ledger.units import RAO_PER_TAO


def test_each_closed_epoch_is_a_file_that_is_written_again_if_missing(network):
    chain = network.chain
    assert write_metagraphs(chain) == []
    network.run_epoch()
    first = write_metagraphs(chain)
    network.run_epoch(voting=[0, 1])
    second = write_metagraphs(chain)
    assert [path.name for path in first + second] == ["epoch=000001.parquet", "epoch=000002.parquet"]
    assert write_metagraphs(chain) == []
    contents = [pq.read_table(path, partitioning=None) for path in first + second]
    for path in first + second:
        path.unlink()
    assert metagraph_table(chain, 1) == contents[0]
    network.seal("open")
    assert write_metagraphs(chain) == first + second
    assert [pq.read_table(path, partitioning=None) for path in first + second] == contents
    with Chain.open(chain.path) as reader:
        assert metagraph_table(reader, 2) == contents[1]


def test_a_table_says_what_the_state_says(network):
    network.run_epoch()
    table = metagraph_table(network.chain, 1)
    rows = table.to_pylist()
    assert [row["uid"] for row in rows] == list(range(11))
    assert sum(row["incentive_q31"] for row in rows) == ONE_Q31
    assert sum(row["emission_rao"] for row in rows) == 360 * RAO_PER_TAO
    assert rows[4]["hotkey"] == encode_address(network.hotkeys[4].public)
    assert rows[4]["stake_rao"] == network.chain.state.stake(network.hotkeys[4].public)
    assert rows[4]["manifest"] == network.manifest(4, 1).hex()
    assert {row["epoch"] for row in rows} == {1}
    assert metagraph_table(network.chain) == table


def test_what_neurons_say_of_themselves_is_shown(network):
    hotkey, coldkey = network.hotkeys[4], network.coldkeys[4]
    said = [
        network.sign(Serve(endpoint="http://127.0.0.1:8091"), hotkey),
        network.sign(Checkpoint(parameters=b"\1" * 32, manifest=b"\2" * 32), hotkey),
        network.sign(SetIdentity(hotkey=hotkey.public, name="Ada", url="", description=""), coldkey),
        network.sign(SetTake(hotkey=hotkey.public, take=6554), coldkey),
    ]
    network.run_epoch(opening=said)
    row, other = metagraph_table(network.chain, 1).to_pylist()[4:6]
    assert (row["endpoint"], row["identity"], other["endpoint"]) == ("http://127.0.0.1:8091", "Ada", None)
    assert (row["checkpoint"], row["checkpoint_manifest"]) == ("01" * 32, "02" * 32)
    assert (row["take_q31"], other["take_q31"]) == (6554 * ONE_Q31 // 65535, 18 * ONE_Q31 // 100)
    assert (row["missed_reveals"], row["barred_until"]) == (0, 0)


def test_an_epoch_that_is_not_closed_has_none(network):
    network.seal("open")
    with pytest.raises(StoreError, match="0 closed epochs"):
        metagraph_table(network.chain, 1)
    assert metagraph_table(network.chain).num_rows == 11
