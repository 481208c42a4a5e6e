"""Problems that taught something when they were drawn last come again: the history of single problems as a curriculum.

    outcomes of groups --> the pool of problems with reward variance --> rows for a chunk, within the quotas

The idea is that of "Prioritized Level Replay" (Jiang et al. 2021, arXiv 2010.03934): a part of the levels is drawn from those
already seen, by what they are expected to teach and by how long ago that was found out. The score here is the learnability
p (1 - p) of "Learning to Reason at the Frontier of Learnability" (Foster et al. 2025, arXiv 2502.12272): the variance of the
rewards within the problem's last group. A group without variance has no gradient, and whether the next one of the same
problem has any is far better told by its last group than by its bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from grpo_project.core.random_streams import stream
from grpo_project.curriculum.base import GroupOutcome
from grpo_project.errors import ConfigError

HALF_LIFE = 10.0  # chunks after which what was found out about a problem counts half


class Revisits:
    """The pool. A problem joins when a group of it has variance, and leaves when it is drawn from the pool or when a group of it
    has none; so while its completions are under way it cannot be drawn from the pool again.

    share: part of every domain's quota, in [0, 1); 0 turns it off. What the pool cannot fill is drawn as without it.
    seed: names the random streams. Raises ConfigError.
    """

    def __init__(self, share: float, seed: int) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"revisit_share must be at least 0 and below 1, got {share}")
        self.share = share
        self._seed = seed
        self._pool: dict[str, dict[int, tuple[int, float]]] = {}  # domain -> row -> (chunk of its last group, its spread)

    def observe(self, chunk: int, groups: Sequence[GroupOutcome]) -> None:
        """The groups of a chunk, in order."""
        if self.share == 0:
            return
        for group in groups:
            own = self._pool.setdefault(group.domain, {})
            own.pop(group.row_index, None)
            if group.spread > 0:
                own[group.row_index] = (chunk, group.spread)

    def choose(self, chunk: int, quotas: Mapping[str, int], batches: int) -> dict[str, list[int]]:
        """{domain: rows} for the `batches` batches of a chunk, at most round(share x quota) for each; they leave the pool.

        Drawn without replacement, with chances as spread^2, halved for every HALF_LIFE chunks since.
        """
        chosen = {}
        for domain, quota in quotas.items():
            pool = self._pool.get(domain, {})
            wanted = min(math.floor(self.share * quota + 0.5) * batches, len(pool))
            if not wanted:
                continue
            rng = stream(self._seed, "revisit", chunk, domain)
            # The largest keys of log(u) / weight are a weighted draw without replacement (Efraimidis and Spirakis 2006); rows in
            # numerical order, since the order in which they came must not matter.
            keys = {
                row: math.log(1.0 - rng.random()) / (spread**2 * 0.5 ** ((chunk - at) / HALF_LIFE))
                for row, (at, spread) in sorted(pool.items())
            }
            chosen[domain] = sorted(keys, key=lambda row: (-keys[row], row))[:wanted]
            for row in chosen[domain]:
                del pool[row]
        return chosen

    def metrics(self) -> dict[str, Any]:
        """How many problems wait to be drawn again, by domain; nothing where it is turned off."""
        return {"curriculum/revisit_pool": {domain: len(own) for domain, own in self._pool.items()}} if self.share else {}

    def state_dict(self) -> dict[str, Any]:
        return {domain: [[row, at, spread] for row, (at, spread) in own.items()] for domain, own in self._pool.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._pool = {domain: {int(row): (int(at), float(spread)) for row, at, spread in own} for domain, own in state.items()}
