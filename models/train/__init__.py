"""Training: local AdamW steps on a peer's own pages.

Invariants: the same model, pages, settings and optimizer state give the same weights on one CPU thread.
"""
