"""Hosting: transformers are built from a seed, kept as safetensors, loaded without running foreign code, and scored.

Invariants: no file from outside is unpickled or executed; the process's random state is left as it was.
"""
