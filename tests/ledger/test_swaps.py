"""A validator's hotkey is swapped in mid-life: its votes, bonds, pay and finality go on."""

from ledger.extrinsics import SwapHotkey
from ledger.keys import Keypair
from ledger.store.replay import verify


def test_a_validator_goes_on_under_its_new_hotkey(make_network):
    """Beside a network without the swap, in which everything else is the same."""
    swapped, plain = make_network(), make_network()
    old, fresh = swapped.hotkeys[0].public, Keypair.from_seed(b"\x0b" * 32)
    for network in (swapped, plain):
        network.run_epoch()
    bonds = swapped.chain.state.bonds.get(b"\0\0")

    swap = swapped.sign(SwapHotkey(old=old, new=fresh.public), swapped.coldkeys[0])
    assert swapped.seal("open", [swap]).receipts == ("ok",)
    plain.seal("open")
    assert swapped.chain.state.bonds.get(b"\0\0") == bonds
    assert old in {member.hotkey for member in swapped.chain.finality_set(swapped.chain.head.height)}
    assert swapped.vote_all(swapped.chain.head.height)

    swapped.hotkeys.append(swapped.hotkeys[0])
    swapped.hotkeys[0] = fresh
    for network in (swapped, plain):
        reveals = {uid: network.ballot(uid, tuple(network.peers), (1,) * 7) for uid in network.validators}
        keys = network.hotkeys
        network.seal("commit", [network.sign(network.commit_call(uid, reveals[uid]), keys[uid]) for uid in reveals])
        close = network.seal("close", [network.sign(reveals[uid], keys[uid]) for uid in reveals])
        assert close.receipts == ("ok",) * 4
    assert swapped.vote_all(swapped.chain.head.height)
    for network in (swapped, plain):
        network.run_epoch()
    assert fresh.public in {member.hotkey for member in swapped.chain.finality_set(swapped.chain.head.height)}
    assert verify(swapped.chain.path).final_height == swapped.chain.head.height

    for uid in range(len(plain.chain.state.neurons())):
        ours, theirs = swapped.chain.state.neuron(uid), plain.chain.state.neuron(uid)
        changed = {field for field in ours.__struct_fields__ if getattr(ours, field) != getattr(theirs, field)}
        assert changed == ({"hotkey"} if uid == 0 else set())
        assert swapped.chain.state.stake(ours.hotkey) == plain.chain.state.stake(theirs.hotkey)
    assert dict(swapped.chain.state.bonds.entries) == dict(plain.chain.state.bonds.entries)
