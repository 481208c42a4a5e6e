"""Problems as rows: reading and checking them, their difficulty and prompts, making new ones, and the sets that judge a model."""
