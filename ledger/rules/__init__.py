"""What each call does: `validate_*` raises a Refusal, `apply_*` writes.

A call is validated whole before it writes anything.
"""
