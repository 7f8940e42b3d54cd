"""One script per question: `python -m benchmarks.NAME`. Each writes one JSON record to benchmarks/results/."""
