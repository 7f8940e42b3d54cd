"""A home: who drives it, whether its ledger opens, and what format it has."""

from pathlib import Path

from cluster.archive import open_chain
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.lease import read_holder
from cluster.observe.doctor.check import Check, bad, ok, warn
from ledger.errors import DamagedLedger, LedgerError
from ledger.store.database import FORMAT, Database


def check_home(home: Home) -> list[Check]:
    """The network that a home holds, if it holds one."""
    if not home.chain.exists():
        return [ok("home", f"there is no network in {home.folder} yet")]
    return [check_lease(home), *check_ledger(home)]


def check_lease(home: Home) -> Check:
    """Who drives it."""
    holder = read_holder(home.lease)
    return ok(
        "home.driver", f"it is driven by {holder}" if holder else "nobody drives it: a launch goes on from its head"
    )


def check_ledger(home: Home) -> list[Check]:
    """Whether its ledger is in this version's format and opens: its head, its mark and what is final agree."""
    written = _format(home.chain)
    if isinstance(written, Check):
        return [written]
    if written < FORMAT:
        mend = "run `taoray ledger migrate`; a launch does so itself"
        return [warn("home.format", f"the ledger has format {written}, this version writes {FORMAT}", mend)]
    if written > FORMAT:
        seen = f"the ledger has format {written}, this version reads {FORMAT}"
        return [bad("home.format", seen, "use the version of taoray that wrote it")]
    try:
        with open_chain(home.folder) as chain:
            head, final, genesis = chain.head, chain.final_height, chain.genesis
    except DamagedLedger as error:
        mend = (
            "see where with `taoray ledger verify`; then import an export, or put a replica of a validator in its place"
        )
        return [bad("home.ledger", f"the ledger is damaged: {error}", mend)]
    except (LedgerError, ClusterError) as error:
        return [bad("home.ledger", f"the ledger does not open: {error}", "do what the sentence says")]
    seen = f"{genesis.network}: block {head.height} of epoch {head.epoch}, final to {final}"
    checks = [ok("home.format", f"format {FORMAT}, protocol {genesis.protocol}"), ok("home.ledger", seen)]
    if head.height - final > 1:
        checks.append(
            warn("home.final", f"{head.height - final} blocks are not final", "launch it: validators sign them first")
        )
    return checks


def _format(path: Path) -> int | Check:
    try:
        database = Database(path, write=False)
        try:
            return database.format()
        finally:
            database.close()
    except LedgerError as error:
        return bad(
            "home.ledger", f"the ledger's file cannot be read: {error}", "put a copy, or an export, in its place"
        )
