"""Text: documents are read once, split by their hash, laid down in one Arrow file, and drawn from by seed.

Invariants: the same documents give the same corpus, and the same corpus and seed the same windows, on every machine;
no document is in both splits; nothing here imports torch.
"""
