"""Problems as rows: reading and checking them, their difficulty and prompts, generating new ones, and the held-out sets."""
