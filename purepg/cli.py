"""The command line: parses, calls the library, prints.

    purepg train ENV --estimator NAME [...]    train hundreds of seeds, print a table, save
    purepg evaluate RUN [...]                  play fresh games with a saved run's policies
    purepg diagnose ENV [...]                  bias, variance and cost of estimators
    purepg list                                environments, estimators, baselines

Bad input is one line on standard error and exit code 2.
"""

import contextlib
import dataclasses
import io
import math
import os
import re
import sys
import time
from typing import Annotated, Any, Literal

import tyro

from purepg.errors import InvalidInput


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command `purepg`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {"train": _train, "evaluate": _evaluate, "diagnose": _diagnose, "list": _list}
    if not arguments or arguments[0] in ("-h", "--help"):
        print((__doc__ or "").strip() + "\n\n`purepg COMMAND --help` explains a command.")
        return
    if arguments[0] == "--version":
        from purepg import __version__

        print(f"purepg {__version__}")
        return
    try:
        if arguments[0] not in commands:
            from purepg.environments import closest

            hint = closest(arguments[0], commands)
            raise InvalidInput(f"unknown command {arguments[0]!r}{hint}; known: {', '.join(commands)}")
        commands[arguments[0]](arguments[1:])
    except InvalidInput as error:
        print(f"purepg: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("purepg: interrupted before anything was computed", file=sys.stderr)
        sys.exit(130)


@dataclasses.dataclass(frozen=True)
class _Run:
    env: tyro.conf.Positional[str] = "CartPole-v1"
    """Environment: an id that `purepg list` shows, or module:Class."""
    estimator: str = "reinforce-loo"
    """Estimator of the gradient, one that `purepg list` shows."""
    baseline: str | None = None
    """Another baseline than the estimator's own: none, constant, mean, loo, moving, value."""
    critic: str | None = None
    """Another critic than the estimator's own: none, shared (the policy's network), own."""
    collect: str | None = None
    """Another way to collect than the estimator's own: games (whole ones) or segments."""
    env_arguments: tuple[str, ...] = ()
    """Arguments of the environment's constructor, as name=value."""
    env_params: tuple[str, ...] = ()
    """Parameters of the environment that differ from its defaults, as name=value."""
    seeds: int = 64
    """Independent seeds, numbered from first_seed."""
    first_seed: int = 0
    """Number of the first seed; a seed's result depends on its number alone."""
    updates: int = 100
    """Updates of each seed."""
    evaluation_games: int = 100
    """Fresh games of the final greedy evaluation of each seed; 0 for none."""
    placement: Literal["auto", "one-after-another", "side-by-side"] = "auto"
    """Where the seed axis goes on a device."""
    out: str | None = None
    """Folder for the run, which must not exist; default: a new one in runs/."""


def _train(arguments: list[str]) -> None:
    """Trains a policy on many independent seeds and saves the labelled result."""
    from purepg import results, seeds

    seeds.use_all_cores()
    parsed, method, hyper = _parse_train(arguments)
    from purepg.progress import reporter
    from purepg.runner import run

    target = results.check_writable(parsed.out or _new_run_name(method, parsed.estimator))
    started = time.perf_counter()
    last = parsed.first_seed + parsed.seeds
    if parsed.seeds < 1 or parsed.first_seed < 0:
        raise InvalidInput(
            f"seeds = {parsed.seeds}, first_seed = {parsed.first_seed}: give seeds >= 1, first_seed >= 0"
        )
    with reporter() as report:
        result = run(
            method,
            hyper,
            range(parsed.first_seed, last),
            parsed.updates,
            evaluation_games=parsed.evaluation_games,
            placement=parsed.placement,
            report=report,
        )
    done = result.dataset.sizes["iteration"]
    if done < parsed.updates:
        print(f"Interrupted: {done} of {parsed.updates} updates are kept.")
    saved = result.save(target)
    _print_result(result, parsed.estimator, time.perf_counter() - started)
    print(f"Saved to {saved}")


def _parse_train(arguments: list[str]):
    """Two passes: environment and estimator choose the defaults, which then are flags of their own."""
    from purepg import baselines, critics, defaults, environments, hyperparams

    names = _peek(arguments)
    spec = environments.environment(names.env, **dict(_pair(p) for p in names.env_arguments))
    recipe = defaults.recipe(spec, names.estimator, names.collect, names.updates)
    task, policy, estimator = _parts(recipe.method)
    parts = {"baseline": baselines.make, "critic": critics.make}
    parts = {name: make for name, make in parts.items() if hasattr(estimator, name)}
    for name in ("baseline", "critic"):
        if (given := getattr(names, name)) is not None:
            if name not in parts:
                raise InvalidInput(f"estimator {names.estimator!r} has no {name}: leave --{name} out")
            estimator = dataclasses.replace(estimator, **{name: parts[name](given)})
    groups = {
        "hyper": (_flags(recipe.hyper, "env"), ""),
        "task_fields": (_TaskFlags(task.normalize_observations), ""),
        "collect_fields": (task.collect, ""),
        "policy": (_flags(policy, "network"), "policy"),
        "network": (policy.network, "network"),
        "method": (_flags(estimator, *parts), ""),
        **{f"{name}_fields": (getattr(estimator, name), name) for name in parts},
        "optimizer": (recipe.method.optimizer, "optimizer"),
    }
    fields = [
        (name, Annotated[type(default), tyro.conf.arg(name=prefix)], dataclasses.field(default=default))
        for name, (default, prefix) in groups.items()
        if dataclasses.fields(default)
    ]
    flags = dataclasses.make_dataclass("flags", fields, bases=(_Run,), frozen=True)
    parsed: Any = _tyro(
        flags, arguments, "train", default=flags(**vars(names) | {"updates": recipe.num_updates})
    )
    if parsed.env != names.env:
        raise InvalidInput(f"the environment comes first: purepg train {parsed.env} …")
    chosen = {name: getattr(parsed, name, default) for name, (default, _) in groups.items()}
    chosen_parts = {name: chosen[f"{name}_fields"] for name in parts}
    estimator = dataclasses.replace(estimator, **vars(chosen["method"]) | chosen_parts)
    policy = dataclasses.replace(policy, **vars(chosen["policy"]) | {"network": chosen["network"]})
    collect = chosen["collect_fields"]
    task = dataclasses.replace(task, policy=policy, collect=collect, **vars(chosen["task_fields"]))
    method = dataclasses.replace(recipe.method, task=task, estimator=estimator, optimizer=chosen["optimizer"])
    env_params = dict(_pair(p) for p in parsed.env_params)
    env = hyperparams.with_env_params(spec, env_params) if env_params else None
    return parsed, method, hyperparams.Hyperparams(**vars(chosen["hyper"]) | {"env": env})


@dataclasses.dataclass(frozen=True)
class _TaskFlags:
    normalize_observations: bool = False
    """Shift and scale observations by their running mean and deviation."""


def _flags(record: Any, *without: str) -> Any:
    """The same record, without flags for the fields that have flags elsewhere."""
    hidden = [
        (name, Annotated[Any, tyro.conf.Suppress], dataclasses.field(default=getattr(record, name)))
        for name in without
    ]
    made = dataclasses.make_dataclass(type(record).__name__, hidden, bases=(type(record),), frozen=True)
    made.__doc__ = type(record).__doc__
    return made(**vars(record))


def _parts(method: Any) -> tuple[Any, Any, Any]:
    return method.task, method.task.policy, method.estimator


def _peek(arguments: list[str]) -> _Run:
    """The fields that choose other flags, from arguments that may hold flags not known yet."""
    found = _Run(updates=0)
    if arguments and not arguments[0].startswith("-"):
        found = dataclasses.replace(found, env=arguments[0])
    for name in ("estimator", "baseline", "critic", "collect"):
        for i, word in enumerate(arguments):
            if word == f"--{name}" and i + 1 < len(arguments):
                found = dataclasses.replace(found, **{name: arguments[i + 1]})
            elif word.startswith(f"--{name}="):
                found = dataclasses.replace(found, **{name: word.partition("=")[2]})
    for i, word in enumerate(arguments):
        given = word.partition("=")[2] or next(iter(arguments[i + 1 :]), "")
        if word.partition("=")[0] == "--updates" and given.isdecimal():
            found = dataclasses.replace(found, updates=int(given))
    for flag in ("--env-arguments", "--env_arguments"):
        if flag in arguments:
            rest = arguments[arguments.index(flag) + 1 :]
            ends = [i for i, word in enumerate(rest) if word.startswith("--")]
            found = dataclasses.replace(found, env_arguments=tuple(rest[: min(ends, default=len(rest))]))
    return found


def _tyro(record: type, arguments: list[str], command: str, **options: Any) -> Any:
    """tyro's parser, its boxed complaint folded into the one line of an `InvalidInput`."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                record,
                args=arguments,
                prog=f"purepg {command}",
                config=(tyro.conf.SuppressFixed,),
                **options,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        lines = [re.sub(r"[╭╮╰╯│─]+", " ", line).strip() for line in complaint.getvalue().splitlines()]
        text = " ".join(line for line in lines[1:] if line).partition(" For full helptext")[0]
        text = re.sub(r" Perhaps you meant: (--\S+).*", r"; perhaps you meant \1", text)
        text = text.partition(" Argument helptext:")[0].rstrip(". ")
        raise InvalidInput(f"{text}; `purepg {command} --help` shows every flag") from None


def _pair(text: str) -> tuple[str, Any]:
    """name=value, the value read as a Python literal where it is one."""
    import ast

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InvalidInput(f"{text!r} is not of the form name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value.replace("\\n", "\n")


def _new_run_name(method: Any, estimator: str) -> str:
    env = re.sub(r"[^\w.-]+", "-", method.task.env.name)
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}"
    base = os.path.join("runs", f"{env}-{estimator}-{stamp}")
    names = (base if i == 0 else f"{base}-{i + 1}" for i in range(1000))
    return next(name for name in names if not os.path.exists(name))


def _print_result(result: Any, title: str, total_seconds: float) -> None:
    dataset = result.dataset
    name = result.method.task.env.name
    print(f"{title} on {name}: mean return of each seed")
    last = max(1, dataset.sizes["iteration"] // 10)  # the last segment alone may hold no game's end
    tables = {f"training, last {last} update{'s' * (last > 1)}": result.training_return(last)}
    if "evaluation_return" in dataset:
        tables[f"greedy, {dataset.attrs['evaluation_games']} fresh games"] = dataset[
            "evaluation_return"
        ].values
    _print_summary(tables, name)
    frozen = int((dataset["frozen_at"].values >= 0).sum())
    skipped = int(dataset["skipped"].values.sum())
    if skipped:
        print(f"{skipped} updates were not finite and left out; {frozen} seeds given up after 10 in a row")
    steps = float(dataset["steps"].values.sum())
    seconds = dataset.attrs["run_seconds"]
    print(
        f"{total_seconds:.1f} s in all: {dataset.attrs['compile_seconds']:.1f} s compiling, {seconds:.1f} s training "
        f"{steps:,.0f} environment steps ({steps / seconds:,.0f} a second)"
    )


def _print_summary(columns: dict[str, Any], env_name: str) -> None:
    """A table with a column for each title and its values [S], one a seed."""
    from rich.console import Console
    from rich.table import Table

    rows: dict[str, list[str]] = {}
    for values in columns.values():
        for name, text in _summary_rows(values, env_name).items():
            rows.setdefault(name, []).append(text)
    table = Table("")
    for title in columns:
        table.add_column(title, justify="right")
    for name, texts in rows.items():
        table.add_row(name, *texts)
    Console().print(table)


def _summary_rows(values: Any, env_name: str) -> dict[str, str]:
    from purepg.environments import SOLVED_AT
    from purepg.statistics import summarize

    s = summarize(values)
    rows = {"seeds": str(s.num_seeds)}
    if env_name in SOLVED_AT:
        share = (values >= SOLVED_AT[env_name]).mean()
        rows[f"solved (≥ {SOLVED_AT[env_name]:g})"] = f"{share:.1%}"
    interval = "" if math.isnan(s.low) else f" [{s.low:.2f}, {s.high:.2f}]"
    return rows | {
        "mean [95 % interval]": f"{s.mean:.2f}{interval}",
        "interquartile mean": f"{s.interquartile_mean:.2f}",
        "median": f"{s.median:.2f}",
        "worst": f"{s.worst:.2f}",
        "best": f"{s.best:.2f}",
    }


@dataclasses.dataclass(frozen=True)
class _EvaluateFlags:
    run: tyro.conf.Positional[str]
    """Folder of a saved run."""
    games: int = 100
    """Fresh games for each seed."""
    sampled: bool = False
    """Play by samples from the policy, not by its mode."""
    seed: int = 0
    """Number that the games' randomness comes from."""


def _evaluate(arguments: list[str]) -> None:
    """Plays fresh games with the policies of a saved run."""
    from purepg import seeds

    seeds.use_all_cores()
    parsed = _tyro(_EvaluateFlags, arguments, "evaluate")
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
    _print_summary({f"{how}, {parsed.games} fresh games": values}, name)


@dataclasses.dataclass(frozen=True)
class _DiagnoseFlags:
    env: tyro.conf.Positional[str] = "CartPole-v1"
    """Environment: an id that `purepg list` shows, or module:Class."""
    estimators: tuple[str, ...] = ("reinforce", "reinforce-mean", "reinforce-loo", "reinforce-optimal")
    """Estimators to measure."""
    games: int = 32
    """Games of a batch."""
    batches: int = 1000
    """Independent batches."""
    max_steps: int | None = None
    """Longest game; none: the environment's own limit."""
    discount: float = 0.99
    """γ in [0, 1]."""
    run: str | None = None
    """Folder of a saved run, whose policy takes the place of a fresh one."""
    seed: int = 0
    """Seed of the run, or of the fresh policy."""
    out: str | None = None
    """Folder for dataset.nc and variance.png, which must not exist; none: nothing is saved."""


def _diagnose(arguments: list[str]) -> None:
    """Measures estimators of the gradient at the same parameters."""
    from purepg import seeds

    seeds.use_all_cores()
    parsed = _tyro(_DiagnoseFlags, arguments, "diagnose")
    import jax

    from purepg import defaults, diagnostics, environments, estimators, hyperparams, results
    from purepg.task import Games, Task

    chosen = {name: estimators.make(name) for name in parsed.estimators}
    if not chosen:
        raise InvalidInput("no estimators given: name at least one that `purepg list` shows")
    target = results.check_writable(parsed.out) if parsed.out else None
    hyper = hyperparams.Hyperparams(discount=parsed.discount)
    hyperparams.check(hyper)
    if parsed.run is None:
        spec = environments.environment(parsed.env)
        policy = defaults.recipe(spec, next(iter(chosen))).method.task.policy
        task = Task(spec, policy, Games(parsed.games, parsed.max_steps))
        params = task.bind_policy().init(jax.random.key(parsed.seed))
    else:
        result = results.load(parsed.run)
        task = dataclasses.replace(result.method.task, collect=Games(parsed.games, parsed.max_steps))
        params, hyper = result.params(parsed.seed), dataclasses.replace(result.hyper, reward_scale=1.0)
        shapes = jax.eval_shape(task.bind_policy().init, jax.random.key(0))
        if jax.tree.map(lambda x: x.shape, shapes) != jax.tree.map(lambda x: x.shape, params):
            raise InvalidInput(
                f"the policy of {parsed.run} shares its network with a critic: diagnose one that does not"
            )
    statistics = diagnostics.compare(task, chosen, hyper, params, jax.random.key(parsed.seed), parsed.batches)
    _print_statistics(statistics, task.env.name)
    if target is not None:
        from purepg import plotting

        target.mkdir()
        diagnostics.to_dataset(statistics).to_netcdf(target / "dataset.nc", engine="h5netcdf")
        plotting.variances(statistics, task.env.name).savefig(target / "variance.png", dpi=150)
        print(f"Saved to {target}")


def _print_statistics(statistics: dict[str, Any], env_name: str) -> None:
    from rich.console import Console
    from rich.table import Table

    one = next(iter(statistics.values()))
    table = Table(title=f"{env_name}: {one.num_batches} batches of {one.num_games} games")
    columns = (
        "estimator",
        "variance",
        "signal/noise",
        "cosine",
        "largest |bias z|",
        "steps",
        "ms",
        "variance × steps",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "estimator" else "right")
    for name, s in statistics.items():
        numbers = s.total_variance, s.snr, s.cosine, s.largest_bias_z, s.steps, 1000 * s.seconds, s.cost
        table.add_row(name, *(f"{x:.4g}" for x in numbers))
    Console().print(table)


def _list(arguments: list[str]) -> None:
    """Prints the names that can be given."""
    if arguments:
        raise InvalidInput(f"`purepg list` takes no arguments, got {' '.join(arguments)}")
    from purepg import baselines, critics, environments, estimators

    for title, names in (
        ("Environments (or module:Class)", environments.names()),
        ("Estimators", list(estimators.NAMES)),
        ("Baselines", list(baselines.NAMES)),
        ("Critics", list(critics.NAMES)),
    ):
        print(f"{title}:")
        print("".join(f"  {name}\n" for name in names))


if __name__ == "__main__":
    main()
