"""`purepg evaluate`: fresh games with a saved run's policies."""

import dataclasses

import tyro

from purepg.cli import tables
from purepg.cli.flags import parse
from purepg.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Flags:
    run: tyro.conf.Positional[str]
    """Folder of a saved run."""
    games: int = 100
    """Fresh games for each seed."""
    sampled: bool = False
    """Play by samples from the policy, not by its mode."""
    seed: int = 0
    """Number that the games' randomness comes from."""


def main(arguments: list[str]) -> None:
    """Plays fresh games with the policies of a saved run."""
    from purepg import seeds

    seeds.use_all_cores()
    parsed = parse(Flags, arguments, "evaluate")
    import numpy as np

    from purepg.results import load
    from purepg.runner import evaluate_seeds

    if parsed.games < 1:
        raise InvalidInput(f"games = {parsed.games}: give at least 1")
    result = load(parsed.run)
    evaluation = evaluate_seeds(
        result, num_games=parsed.games, deterministic=not parsed.sampled, stream=parsed.seed
    )
    values = np.asarray(evaluation.returns).mean(axis=1)
    how = "sampled" if parsed.sampled else "greedy"
    name = result.method.task.env.name
    print(f"{name}: mean return of each seed")
    tables.summary({f"{how}, {parsed.games} fresh games": values}, name)
