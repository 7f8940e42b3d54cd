"""Intake: what a stranger's model folder must pass before a network hosts it.

Invariants: files are read as JSON and safetensors, in bounded memory; whatever loads or runs a model does so in a
process of its own, with a limit of memory and time; a refusal has a code of its own and says what to do.
"""
