"""What a network tells of itself while it runs: metrics, a structured log, health, and a diagnosis of a machine.

Invariants: nothing here decides anything, and nothing here ends a run: a log that cannot be written and a cluster
without metrics cost the figures and no more.
"""
