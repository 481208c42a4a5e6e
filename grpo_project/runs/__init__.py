"""What a run keeps on disk (folder, checkpoints, states, fingerprints) and how it is followed (observer.py)."""
