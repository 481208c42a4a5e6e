"""What a run keeps on disk: its folder, its checkpoints, the state in them, and the fingerprints that make two runs one."""
