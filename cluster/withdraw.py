"""Withdrawals: a peer is asked and paid no more.

Invariants: it keeps its uid, its stake and its name, and may be submitted again; one that a network trains is trained
no more from the moment that its withdrawal is queued; the same withdrawal twice is one.
"""

from collections.abc import Sequence

from cluster.desk import Desk, Keys, open_desk
from cluster.door import Receipt, Registered
from cluster.errors import SubmissionRefused
from cluster.home import Home
from cluster.records import Record
from cluster.show import Progress, Quiet
from cluster.submission import Withdrawal
from ledger.errors import Refusal
from ledger.extrinsics import Call, Serve, Withdraw
from ledger.keys import Keypair, encode_address


def withdraw_peer(
    name: str, home: Home, *, network: str | None = None, wait_s: float | None = None, show: Progress | None = None
) -> Withdrawal:
    """`taoray.withdraw`, for a home that was found."""
    with open_desk(home, network) as desk:
        return _withdraw(desk, name, wait_s, show or Quiet())


def _withdraw(desk: Desk, name: str, wait_s: float | None, show: Progress) -> Withdrawal:
    mine, waits = desk.mine(name), desk.waiting(name)
    neuron = mine[0] if mine else None
    if mine is not None:
        keys = mine[1]
    elif waits is not None:
        keys = desk.keys_of(waits)
    else:
        raise SubmissionRefused("not_registered", f"no neuron of {desk.terms.network} is named {name!r}")
    if waits is not None and waits.withdrawal:
        return _withdrawal(desk, keys, neuron, waits, desk.wait(waits, wait_s, show))
    calls: list[tuple[Call, Keypair]] = []
    if (neuron is not None and neuron.manifest is not None) or (waits is not None and waits.manifest is not None):
        calls.append((Withdraw(), keys.hotkey))
    if (neuron is not None and neuron.endpoint is not None) or (waits is not None and waits.endpoint is not None):
        calls.append((Serve(endpoint=None), keys.hotkey))
    if not calls:
        raise Refusal("no_version", f"{name} has neither a version nor an endpoint to withdraw")
    with desk.queue():
        record = desk.send(calls, Record(genesis="", name=name, wallet=keys.wallet.name, hotkey=keys.hotkey_name))
    return _withdrawal(desk, keys, neuron, record, desk.wait(record, wait_s, show))


def _withdrawal(
    desk: Desk, keys: Keys, neuron: Registered | None, record: Record, receipts: Sequence[Receipt]
) -> Withdrawal:
    last = receipts[-1] if receipts else None
    return Withdrawal(
        network=desk.terms.network,
        name=record.name,
        state="withdrawn" if last else "queued",
        uid=neuron.uid if neuron else None,
        hotkey=encode_address(keys.hotkey.public),
        last_epoch=max(desk.terms.epoch, last.epoch - 1) if last else desk.terms.epoch,
        height=last.height if last else None,
        final=bool(last and last.final),
        running=desk.terms.running,
        extrinsics=record.extrinsics,
    )
