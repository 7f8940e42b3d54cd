"""`python -m cluster`: the command line without an installed script, as a Ray job's entrypoint starts it."""

from cluster.cli.main import main

main()
