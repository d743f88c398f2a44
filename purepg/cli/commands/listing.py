"""`purepg list`: the names that can be given."""

from purepg.errors import InvalidInput


def main(arguments: list[str]) -> None:
    """Prints the names that can be given."""
    if arguments in (["-h"], ["--help"]):
        print("usage: purepg list\n\nPrints the names that can be given. It takes no arguments.")
        return
    if arguments:
        raise InvalidInput(f"`purepg list` takes no arguments, got {' '.join(arguments)}")
    from purepg import environments, estimators, presets
    from purepg.estimators import baselines, critics
    from purepg.policies import networks

    for title, names in (
        ("Environments (or module:Class)", environments.names()),
        ("Estimators", list(estimators.NAMES)),
        ("Other methods", list(presets.METHODS)),
        ("Baselines", list(baselines.NAMES)),
        ("Critics", list(critics.NAMES)),
        ("Networks", list(networks.NAMES)),
    ):
        print(f"{title}:")
        print("".join(f"  {name}\n" for name in names))
