"""`purepg evaluate`: fresh games with a saved run's policies, here and in Gymnasium."""

import dataclasses
import math
from typing import Any

import tyro

from purepg.cli import machine, tables
from purepg.cli.flags import parse
from purepg.errors import InvalidInput, whole_number


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
    gymnasium: bool = False
    """Play Gymnasium's own environment of the same name as well, and compare."""
    render: str | None = None
    """Animation to write, a .gif: one game of one seed's policy."""
    render_seed: int | None = None
    """Seed whose policy is shown; none: the first."""


def main(arguments: list[str]) -> None:
    """Plays fresh games with the policies of a saved run."""
    machine.start()
    parsed = parse(Flags, arguments, "evaluate")
    import numpy as np

    from purepg.analysis import animation
    from purepg.analysis import gymnasium as real_gymnasium
    from purepg.runs.results import load
    from purepg.runs.runner import evaluate_seeds

    whole_number("games", parsed.games, 1)
    whole_number("seed", parsed.seed, 0, 2**32 - 1)
    if parsed.render_seed is not None and parsed.render is None:
        raise InvalidInput("render_seed says whose game --render FILE.gif shows: give that too")
    target = None if parsed.render is None else animation.check_target(parsed.render)
    result = load(parsed.run)
    shown = int(result.seeds[0]) if parsed.render_seed is None else parsed.render_seed
    if target:
        result.params(shown)  # says so now if there is no such seed
    options: Any = {"num_games": parsed.games, "deterministic": not parsed.sampled, "stream": parsed.seed}
    there = real_gymnasium.evaluate_seeds(result, **options).mean(axis=1) if parsed.gymnasium else None
    here = np.asarray(evaluate_seeds(result, **options).returns).mean(axis=1)
    how = "sampled" if parsed.sampled else "greedy"
    name = str(result.dataset.attrs["environment"])
    columns = {f"{how}, {parsed.games} fresh games": here}
    if there is not None:
        columns[f"{how}, {parsed.games} games in Gymnasium"] = there
    print(f"{name}: mean return of each seed")
    tables.summary(columns)
    if there is not None:
        _compare(here, there)
        if words := real_gymnasium.caveat(result):
            print(f"Not the same game: {words}")
    if target:
        _animate(result, shown, target, parsed.seed, deterministic=not parsed.sampled)


def _compare(here: Any, there: Any) -> None:
    from purepg.statistics.comparisons import compare_pair

    found = compare_pair(here, there, paired=True)
    interval = "" if math.isnan(found.low) else f" [{found.low:.2f}, {found.high:.2f}]"
    print(f"here − Gymnasium: {found.difference:.2f}{interval}, 95 % interval over {len(here)} seeds, paired")


def _animate(result: Any, seed: int, target: Any, stream: int, *, deterministic: bool) -> None:
    """By Gymnasium's pictures where it has them, else from a game here."""
    from purepg.analysis import animation
    from purepg.analysis import gymnasium as real_gymnasium

    options: Any = {"deterministic": deterministic, "stream": stream}
    try:
        game, why = real_gymnasium.record(result, seed, **options), ""
    except InvalidInput as error:
        game, why = animation.record(result, seed, **options), f"; drawn from observations: {error}"
    animation.save(game, target)
    print(f"Saved to {target}: {game.title}, {len(game.reward)} steps, return {game.reward.sum():.2f}{why}")
