"""What the two repair scripts find in a run that cannot go on, and how they repair it."""
