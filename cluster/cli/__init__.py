"""The command line: each command a thin face of `taoray`, with tables for a person and JSON for a script."""
