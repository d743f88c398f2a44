"""An animation of one game: observations above, actions and rewards below, up to the current step."""

import functools
import os
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from purepg import evaluation
from purepg.analysis import drawing
from purepg.errors import InvalidInput
from purepg.machines import files
from purepg.runs.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Game", "check_target", "record", "save"]

_MOST_FRAMES = 200
_SECONDS = 8  # that a game of more than a few steps lasts
_MOST_NAMED = 8  # lines of a legend


class Game(NamedTuple):
    """One game, as it is drawn.

    Attributes:
      title: Of the animation.
      observation: `[T, *shape]`.
      action: `[T, *action]`, as the environment took it.
      reward: `[T]`.
      picture: `[T, H, W, 3]` RGB, if there is one.
    """

    title: str
    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    picture: np.ndarray | None = None


def record(result: Result, seed: int, *, deterministic: bool = True, stream: int = 0) -> Game:
    """One game of one seed's policy, in purepg's own environment.

    Args:
      result: a run.
      seed: the seed's number.
      deterministic: play the policy's mode, else samples from it.
      stream: number that the game's randomness comes from, together with the seed's.

    Raises:
      InvalidInput: the run has no such seed, or has it several times.
    """
    play = jax.jit(
        functools.partial(evaluation.play, result.method, num_games=1, deterministic=deterministic)
    )
    key = jax.random.fold_in(jax.random.key(seed), stream)
    trajectory = jax.device_get(play(result.hyper_of(seed), result.params(seed), key))
    mask = trajectory.mask[:, 0]
    shown = (x[mask, 0] for x in (trajectory.observation, trajectory.action, trajectory.reward))
    return Game(f"{result.method.task.env.name}, seed {seed}", *shown)


def check_target(path: str | os.PathLike) -> pathlib.Path:
    """The path of an animation, if it can be written there.

    Args:
      path: of a .gif that does not exist yet.

    Raises:
      InvalidInput: it is no .gif, exists already, or has no folder.
    """
    target = files.path(path)
    if target.suffix.lower() != ".gif":
        raise InvalidInput(f"{target} does not end in .gif: animations are written as GIF")
    if target.exists():
        raise InvalidInput(f"{target} exists already: give the animation a file of its own")
    if not os.access(target.parent, os.W_OK):
        raise InvalidInput(f"cannot write to {target.parent}: make the folder first")
    return target


def save(game: Game, path: str | os.PathLike) -> None:
    """Writes a GIF of about eight seconds that ends with the game; a long game has a frame every few steps.

    Above is the game's picture, if it has one; observations with two or more axes are drawn as pictures, others as
    curves. Actions and rewards are curves below.

    Args:
      game: as `record` gives it.
      path: of a .gif that does not exist yet.

    Raises:
      InvalidInput: as `check_target`; or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from PIL import Image

    target = check_target(path)
    num_steps = len(game.reward)
    figure = Figure(figsize=(6.4, 6.4), layout="constrained", dpi=80)
    canvas = FigureCanvasAgg(figure)
    above, *below = figure.subplots(3, 1, height_ratios=(3, 1, 1))
    picture = observed_picture(game.observation) if game.picture is None else game.picture
    curves = [(below[0], "action", game.action), (below[1], "reward", game.reward)]
    moving: list[Any] = [figure.suptitle(game.title)]
    if picture is None:
        curves.append((above, "observation", game.observation))
    else:
        above.set_axis_off()
        moving.append(above.imshow(picture[0], vmin=picture.min(), vmax=picture.max()))
    lines = [line for axes, name, values in curves for line in _curves(axes, name, values)]
    for axes, *_ in curves:
        axes.set_xlim(-0.5, num_steps - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    below[1].set_xlabel("time (steps)")
    # What does not move is drawn once: drawing everything in every frame takes ten times as long.
    moving += [line for line, _ in lines]
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    time, returns = np.arange(num_steps), np.cumsum(game.reward)

    def frame(t: int) -> Image.Image:
        canvas.restore_region(still)
        moving[0].set_text(f"{game.title}: step {t + 1} of {num_steps}, return {returns[t]:.4g}")
        if picture is not None:
            moving[1].set_data(picture[t])
        for line, values in lines:
            line.set_data(time[: t + 1], values[: t + 1])
        for artist in moving:
            artist.draw(canvas.get_renderer())
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    shown = np.linspace(0, num_steps - 1, min(num_steps, _MOST_FRAMES)).round().astype(int)
    first, *rest = [frame(t) for t in shown]
    milliseconds = int(np.clip(1000 * _SECONDS / len(shown), 40, 500))
    try:
        first.save(target, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error}") from error


def _curves(axes: "Axes", name: str, values: np.ndarray) -> list[tuple[Any, np.ndarray]]:
    """Lines still empty, one a component of `values` [T, ...], each with its values [T]; the axes have room for all."""
    from matplotlib.ticker import MaxNLocator

    values = np.asarray(values)
    whole = np.issubdtype(values.dtype, np.integer)
    components = values.reshape(len(values), -1).T.astype(float)
    finite = components[np.isfinite(components)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel(name)
    if whole:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    style: dict[str, Any] = {"marker": ".", "linestyle": "none"} if whole else {"linewidth": 1.6}
    lines = [axes.plot([], [], color=drawing.color(i), **style)[0] for i in range(len(components))]
    if 1 < len(lines) <= _MOST_NAMED:
        names = [f"[{i}]" for i in range(len(lines))]
        place: Any = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
        axes.legend(lines, names, ncols=len(lines), frameon=False, handlelength=1, **place)
    return list(zip(lines, components, strict=True))


def observed_picture(observation: np.ndarray) -> np.ndarray | None:
    """Observations [T, H, W] as they are, [T, H, W, C] as the number of the last channel that is on; else None."""
    if observation.ndim == 3:
        return observation.astype(float)
    if observation.ndim != 4:
        return None
    channels = observation.shape[-1]
    return (np.arange(1, channels + 1) * (observation > 0)).max(axis=-1)
