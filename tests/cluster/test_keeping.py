"""What the store must keep, as far as it is read off extrinsics and files."""

import json

from cluster.keeping import bases_of, named_by
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
