"""Adapters as submissions: what adapter_config.json says, before the base is loaded for it.

Invariants: nothing is imported for it; an adapter names its base by the hash of a manifest, never by a path or a name
that somebody else could fill.
"""

import re
from pathlib import Path
from typing import Any

from models.errors import ModelRefused
from models.host.folders import ADAPTER_FILE
from models.intake.documents import Unreadable, is_finite, is_whole, read_document, walk
from models.intake.quotas import Quotas

ADAPTER_BYTES = 1 << 20
BASE = re.compile(r"[0-9a-f]{64}")


def read_adapter(folder: Path, quotas: Quotas) -> dict[str, Any]:
    """The configuration of an adapter's folder that was listed.

    Raises ModelRefused with code `adapter`, `adapter_base` or `adapter_rank`.
    """
    try:
        config = read_document(folder / ADAPTER_FILE, ADAPTER_BYTES)
    except Unreadable as error:
        raise ModelRefused("adapter", error.sentence) from None
    if config.get("peft_type") != "LORA":
        raise ModelRefused("adapter", f"{ADAPTER_FILE} describes {config.get('peft_type')!r}: only LORA is hosted")
    if unbounded := next((name for _, name, value in walk(config) if not is_finite(value)), None):
        raise ModelRefused("adapter", f"{ADAPTER_FILE} sets {unbounded} to no finite number")
    rank = config.get("r")
    if not is_whole(rank) or not 1 <= rank <= quotas.rank:
        raise ModelRefused("adapter_rank", f"{ADAPTER_FILE} sets r to {rank!r}, this network takes 1 to {quotas.rank}")
    base_hash(config)
    return config


def base_hash(config: dict[str, Any]) -> bytes:
    """The manifest hash of an adapter's base, 32 bytes. Raises ModelRefused with code `adapter_base`."""
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not BASE.fullmatch(name):
        raise ModelRefused(
            "adapter_base",
            f"{ADAPTER_FILE} is over {str(name)[:200]!r}: set base_model_name_or_path to the manifest hash of a "
            "version that this network hosts, 64 hexadecimal digits",
        )
    return bytes.fromhex(name)
