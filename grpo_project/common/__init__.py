"""Shared by all packages: atomic file writes, named random streams, confidence intervals of rates, paths, process ranks."""
