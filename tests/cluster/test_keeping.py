"""What the store must keep, as far as it is read off extrinsics and files."""

import json

from cluster.home import Home
from cluster.keeping import bases_of, forget_votes, named_by
from ledger.extrinsics import Checkpoint, Publish, Withdraw, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair
from models.store import Store


def signed(call):
    keypair = Keypair.from_seed(bytes(32))
    return encode_extrinsic(sign_extrinsic(call, keypair, genesis_hash=bytes(32), nonce=1, valid_until=9))


def test_what_waiting_extrinsics_publish_is_named():
    published, trained = b"p" * 32, b"t" * 32
    calls = [Publish(manifest=published), Withdraw(), Checkpoint(parameters=b"x" * 32, manifest=trained)]
    assert named_by([signed(call) for call in calls] + [b"no extrinsic"]) == {published, trained}


def test_an_adapter_keeps_its_base(tmp_path):
    store = Store(tmp_path / "store")
    base = b"\xab" * 32
    whole, adapter = tmp_path / "whole", tmp_path / "adapter"
    for folder in (whole, adapter):
        folder.mkdir()
    (whole / "config.json").write_text("{}")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base.hex()}))
    versions = [store.put_folder(folder).hash for folder in (whole, adapter)]
    assert bases_of(store, [*versions, bytes(32)]) == {base}


def votes(home):
    evidence = {(path.stem, int(path.parent.name)) for path in home.evidence.glob("*/*.evidence")}
    ballots = {(path.parts[-3], int(path.name)) for path in home.validators.glob("*/ballots/*")}
    return evidence, ballots


def test_votes_go_with_their_epochs_but_nobodys_last(tmp_path):
    home = Home(tmp_path)
    voted = {("aa", epoch) for epoch in range(1, 21)} | {("bb", 3), ("bb", 5), ("cc", 2), ("cc", 4)}
    for hotkey, epoch in voted:
        for path in (
            home.evidence / f"{epoch:06d}" / f"{hotkey}.evidence",
            home.validators / hotkey / "ballots" / f"{epoch:06d}",
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    revealed = {"aa": 20, "bb": 5, "cc": 2, "dd": -1}
    forget_votes(home, revealed, 0)
    assert votes(home) == (voted, voted)
    forget_votes(home, revealed, 12)
    kept = {("aa", epoch) for epoch in range(9, 21)} | {("bb", 5), ("cc", 4)}
    assert votes(home) == (kept | {("cc", 2)}, kept), "the ledger still names what cc revealed in epoch 2"
    assert not (home.evidence / "000001").exists()
