"""Text, transformer models, what they are worth, and how they learn.

Invariants: knows neither Ray nor the ledger; a model version is named by the 32-byte hash of its manifest; every figure
of information is in bits per byte of text, every log-probability inside is natural unless its name says otherwise.
"""
