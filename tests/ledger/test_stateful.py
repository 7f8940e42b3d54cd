"""The ledger under random use; `benchmarks/properties.py` runs the same machine for longer."""

import pytest
from hypothesis import HealthCheck, settings

from benchmarks.ledger_machine import LedgerMachine

pytestmark = pytest.mark.thorough

TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
