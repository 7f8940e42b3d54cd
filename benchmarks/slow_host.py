"""A host that is slow for some peers, as a file in the home says.

Invariants: what it answers is what any host answers, later; in every network that is compared a call takes at least
`CALL_S`, so that a factor means something where a tiny model answers in milliseconds.
"""

import json
import time
from pathlib import Path
from typing import Any

from actors.host import Host, ScoreRequest
from actors.wire import Query

CALL_S = 0.2
"""What a call takes at least."""
SLOW = "slow.json"
"""The file: by a peer's name `factor` (of the call's time), `seconds` (more), or `fails` (no answer at all)."""


class SlowHost(Host):
    """As a host, but late."""

    def score(self, request: ScoreRequest, *queries: Query) -> Any:
        """Answer, when the slowest of those that are asked is ready."""
        path = Path(self._settings.store).parent / SLOW
        told = json.loads(path.read_text()) if path.exists() else {}
        own = [told[wallet] for wallet in request.wallets if wallet in told]
        if any(each.get("fails") for each in own):
            raise RuntimeError("this peer answers nothing")
        began = time.monotonic()
        answered = super().score(request, *queries)
        took_s = max(CALL_S, time.monotonic() - began)
        time.sleep(max(0.0, began + took_s - time.monotonic()))
        time.sleep(sum((each.get("factor", 1.0) - 1.0) * took_s + each.get("seconds", 0.0) for each in own))
        return answered
