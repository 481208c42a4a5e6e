"""The domains that ship with the repository and have data in it. A user's own one beside them is in the registry alone."""

TRAINED = ("blocksworld", "delivery", "ferry", "grippers", "spanner")
HELD_OUT = ("elevator",)
