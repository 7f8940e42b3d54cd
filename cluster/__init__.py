"""Where things run: configuration, the driver with its steps, placement, reports and the command line.

Invariants:
* whatever a person can get wrong (a field, a path, too little text, another driver) is told in one line before any
  actor starts;
* every remote call has a deadline, and whoever waits says for whom.
"""
