"""The ledger under random use; `benchmarks/properties.py` runs the same machine for longer."""

from hypothesis import HealthCheck, settings

from benchmarks.ledger_machine import LedgerMachine

TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
