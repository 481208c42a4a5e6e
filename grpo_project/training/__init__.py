"""Models, sampling, the GRPO trainer and SFT. Importing this package loads nothing heavy; its modules do."""
