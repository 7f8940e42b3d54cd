"""Submissions: a model folder, an adapter or an endpoint becomes a peer of a network, or its next version.

Invariants:
* nothing is paid before the model is checked and stored, or its endpoint answered;
* the same submission twice is one: the second finds the first, in the queue or on the ledger, and says so;
* whoever owns the name's neuron publishes a version for its uid; nobody pays twice for one name.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from cluster.config import OPERATOR
from cluster.desk import Desk, Keys, default_name, open_desk
from cluster.door import Receipt, Registered, Terms
from cluster.errors import SubmissionRefused
from cluster.home import Home
from cluster.home_door import read_settings
from cluster.records import Record
from cluster.show import Progress, Quiet
from cluster.submission import Asked, Password, State, Submission
from ledger.errors import Refusal
from ledger.extrinsics import AddStake, Call, Publish, Register, Serve, Transfer, Withdraw
from ledger.keys import Keypair, encode_address
from ledger.units import format_tao
from models.host.folders import ADAPTER_FILE, TOKENIZER_FILE
from models.intake.check import Checked, check_static
from models.manifest import manifest_folder

PRICE_ROOM = 2
"""A registration accepts this many times the price of the moment unless told: others may come before it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_URL = re.compile(r"https?://", re.IGNORECASE)


def submit_model(
    model: Path | str,
    home: Home,
    *,
    name: str | None = None,
    wallet: str | None = None,
    hotkey: str | None = None,
    stake_rao: int = 0,
    max_price_rao: int | None = None,
    train: bool = False,
    network: str | None = None,
    password: Password = None,
    wait_s: float | None = None,
    show: Progress | None = None,
) -> Submission:
    """`taoray.submit`, for a home that was found."""
    endpoint = model if isinstance(model, str) and _URL.match(model) else None
    chosen = default_name(model, endpoint) if name is None else name
    if not _NAME.fullmatch(chosen) or chosen == OPERATOR:
        raise SubmissionRefused(
            "name",
            f"{chosen!r} is no name for a neuron: use up to 63 small letters, digits, dots, dashes and underscores, "
            f"and another than {OPERATOR!r}; --name gives one",
        )
    asked = Asked(
        model=Path(model),
        endpoint=endpoint,
        name=chosen,
        wallet=wallet,
        hotkey=hotkey,
        stake_rao=stake_rao,
        max_price_rao=max_price_rao,
        train=train,
        password=password,
        wait_s=wait_s,
        show=show or Quiet(),
    )
    with open_desk(home, network) as desk:
        if endpoint is None:
            check_static(asked.model, desk.terms.quotas)
        _check_train(desk, asked)
        mine, waits = desk.mine(chosen), desk.waiting(chosen)
        if mine is not None:
            return _renew(desk, asked, mine[0], mine[1], waits)
        if waits is not None:
            return _renew(desk, asked, None, desk.keys_of(waits), waits)
        return _register(desk, asked)


def _register(desk: Desk, asked: Asked) -> Submission:
    """A new neuron: its price is paid from a wallet, which the faucet fills in a home in development."""
    _accepted_rao(desk.terms, asked)
    wallet = desk.find_wallet(asked.wallet or asked.name)
    coldkey = wallet.coldkey(asked.secret(wallet))
    desk.grant_rao(coldkey.public, desk.terms.price_rao + asked.stake_rao)
    keys = desk.choose_hotkey(wallet, asked.hotkey, asked.name)
    delivered = _deliver(desk, asked, keys, coldkey)
    with desk.queue():
        if desk.waiting(asked.name) is not None:
            raise SubmissionRefused(
                "name_taken",
                f"{asked.name!r} was submitted from here meanwhile: run the command again",
            )
        if asked.endpoint is None:
            # Another submission from this wallet may have taken the hotkey; an endpoint answered with its own.
            keys = desk.choose_hotkey(wallet, asked.hotkey, asked.name)
        terms = desk.door.terms()
        most_rao = _accepted_rao(terms, asked)
        needed_rao = (most_rao if desk.faucet else terms.price_rao) + asked.stake_rao
        granted_rao = desk.grant_rao(coldkey.public, needed_rao)
        calls: list[tuple[Call, Keypair]] = []
        if granted_rao:
            calls.append((Transfer(to=coldkey.public, amount_rao=granted_rao), desk.treasury()))
        calls.append((Register(hotkey=keys.hotkey.public, name=asked.name, max_price_rao=most_rao), coldkey))
        calls.append((_offer(asked, delivered), keys.hotkey))
        if asked.stake_rao:
            calls.append((AddStake(hotkey=keys.hotkey.public, amount_rao=asked.stake_rao), coldkey))
        before_rao = desk.door.holdings(coldkey.public).free_rao + granted_rao
        record = desk.send(calls, _record(asked, keys, delivered))
    receipts = desk.wait(record, asked.wait_s, asked.show)
    paid_rao = before_rao - desk.door.holdings(coldkey.public).free_rao - asked.stake_rao
    # What else the wallet paid or got meanwhile would be in it too.
    price_rao = paid_rao if receipts and 0 < paid_rao <= most_rao else None
    return _submission(desk, asked, record, delivered, receipts, price_rao=price_rao, max_price_rao=most_rao)


def _accepted_rao(terms: Terms, asked: Asked) -> int:
    """The most that a registration may cost. Refusal `price_too_high` where it costs more now."""
    most_rao = asked.max_price_rao
    if most_rao is None:
        return min(PRICE_ROOM * terms.price_rao, terms.max_price_rao)
    if terms.price_rao > most_rao:
        raise Refusal(
            "price_too_high",
            f"registration costs {format_tao(terms.price_rao)} TAO now, above the {format_tao(most_rao)} accepted",
        )
    return most_rao


def _renew(desk: Desk, asked: Asked, neuron: Registered | None, keys: Keys, waits: Record | None) -> Submission:
    """Another version, or another endpoint, of a neuron of one's own, or of one whose registration waits."""
    manifest = None if asked.endpoint else manifest_folder(asked.model).hash.hex()
    if waits is not None and (waits.manifest, waits.endpoint) == (manifest, asked.endpoint):
        receipts = desk.wait(waits, asked.wait_s, asked.show)
        return _submission(desk, asked, waits, None, receipts)
    if neuron is not None and waits is None and _stands(neuron) == (manifest, asked.endpoint):
        record = replace(_record(asked, keys, None), manifest=manifest)
        desk.records.write(record)
        return _submission(desk, asked, record, None, ())
    delivered = _deliver(desk, asked, keys, keys.hotkey)
    calls: list[tuple[Call, Keypair]] = [(_offer(asked, delivered), keys.hotkey)]
    if asked.endpoint is None and neuron is not None and neuron.endpoint is not None:
        calls.append((Serve(endpoint=None), keys.hotkey))
    if asked.endpoint is not None and neuron is not None and neuron.manifest is not None:
        calls.insert(0, (Withdraw(), keys.hotkey))
    if asked.stake_rao:
        coldkey = keys.wallet.coldkey(asked.secret(keys.wallet))
        calls.append((AddStake(hotkey=keys.hotkey.public, amount_rao=asked.stake_rao), coldkey))
    with desk.queue():
        record = desk.send(calls, _record(asked, keys, delivered))
    return _submission(desk, asked, record, delivered, desk.wait(record, asked.wait_s, asked.show))


def _deliver(desk: Desk, asked: Asked, keys: Keys, payer: Keypair) -> Checked | None:
    """Have the network check and store the folder, or try the endpoint."""
    if asked.endpoint is not None:
        asked.show.step(f"asking {asked.endpoint}")
        desk.door.try_endpoint(asked.endpoint, keys.hotkey.public)
        return None
    asked.show.step(f"checking {asked.model}")
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if told != total:
            asked.show.step(f"delivering {asked.model}", total)
            told = total
        asked.show.advance(done)

    delivered = desk.door.deliver(asked.model, payer, progress)
    settings = read_settings(desk.home) if asked.train else None
    if settings is not None and delivered.context_tokens < settings.training.page_bytes:
        raise SubmissionRefused(
            "train",
            f"the model reads {delivered.context_tokens} bytes at once, and pages of training have "
            f"{settings.training.page_bytes}: submit it without --train",
        )
    return delivered


def _check_train(desk: Desk, asked: Asked) -> None:
    """Raise SubmissionRefused `train` for what a network cannot train."""
    if not asked.train:
        return
    if not desk.local:
        raise SubmissionRefused("train", "a network trains peers whose hotkeys lie in its home: submit it there")
    if asked.endpoint is not None:
        raise SubmissionRefused("train", "a remote peer is trained where it runs: submit it without --train")
    for file, what in ((ADAPTER_FILE, "an adapter"), (TOKENIZER_FILE, "a model that reads tokens")):
        if (asked.model / file).exists():
            raise SubmissionRefused(
                "train",
                f"{asked.model} is {what}, and a network trains whole models over bytes: submit it without --train",
            )


def _offer(asked: Asked, delivered: Checked | None) -> Publish | Serve:
    return Serve(endpoint=asked.endpoint) if delivered is None else Publish(manifest=delivered.manifest)


def _record(asked: Asked, keys: Keys, delivered: Checked | None) -> Record:
    return Record(
        genesis="",
        name=asked.name,
        wallet=keys.wallet.name,
        hotkey=keys.hotkey_name,
        manifest=None if delivered is None else delivered.manifest.hex(),
        endpoint=asked.endpoint,
        train=asked.train,
    )


def _stands(neuron: Registered) -> tuple[str | None, str | None]:
    """What a neuron stands for: the hash of a version, or an endpoint."""
    return None if neuron.manifest is None else neuron.manifest.hex(), neuron.endpoint


def _submission(
    desk: Desk,
    asked: Asked,
    record: Record,
    delivered: Checked | None,
    receipts: Sequence[Receipt],
    *,
    price_rao: int | None = None,
    max_price_rao: int | None = None,
) -> Submission:
    """What came of it, with what the ledger has of the neuron by now."""
    hotkey = desk.keys_of(record).hotkey.public
    neuron = next((neuron for neuron in desk.door.neurons() if neuron.hotkey == hotkey), None)
    valued_epoch = desk.door.terms().epoch + 1
    if neuron is not None and neuron.manifest is not None and neuron.manifest.hex() == record.manifest:
        valued_epoch = neuron.published_epoch
    elif receipts:
        # A block of any kind takes an endpoint; an open block, which a new neuron needs, comes before the questions.
        valued_epoch = receipts[-1].epoch + (max_price_rao is None)
    state: State = "queued"
    if receipts:
        state = "registered" if max_price_rao is not None else "served" if asked.endpoint else "published"
    elif not record.extrinsics:
        state = "unchanged"
    return Submission(
        network=desk.terms.network,
        name=asked.name,
        state=state,
        kind="remote" if asked.endpoint else delivered.kind if delivered else "",
        wallet=record.wallet,
        hotkey=encode_address(hotkey),
        uid=neuron.uid if neuron else None,
        manifest=record.manifest,
        endpoint=asked.endpoint,
        price_rao=price_rao,
        max_price_rao=max_price_rao,
        stake_rao=asked.stake_rao,
        train=asked.train,
        immune_until_epoch=neuron.registered_epoch + desk.terms.immunity_epochs if neuron else None,
        valued_epoch=valued_epoch,
        height=receipts[-1].height if receipts else None,
        final=bool(receipts and all(receipt.final for receipt in receipts)),
        running=desk.terms.running,
        delivered=delivered,
        extrinsics=record.extrinsics,
    )
