"""What can be wrong with a round or with its evidence.

Invariants: raised for input only; each sentence says what was wrong, where, and what to do.
"""

from models.errors import ModelsError


class RoundError(ModelsError):
    """The columns of a round contradict each other, or cannot be valued."""


class EvidenceError(ModelsError):
    """Bytes are not the evidence of a vote, or not the evidence that was committed to."""
