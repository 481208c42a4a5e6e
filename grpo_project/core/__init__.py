"""The machinery of a run: rows, files, random streams, statistics, the run folder. Standard library, numpy and floor 0 and 1."""
