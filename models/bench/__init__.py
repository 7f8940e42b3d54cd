"""How fast a machine does a network's work, against what its device can do at most.

Invariants: what bounds a piece of work is counted before it is measured; ceilings are measured, not looked up; a figure
is a median with its spread, after a warm-up that is not counted; no Ray, so that everything here runs wherever torch
and transformers do.
"""
