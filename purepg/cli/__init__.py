"""The command line: parses, calls the library, prints.

    purepg train ENV --method NAME [...]       train hundreds of seeds, print a table, save
    purepg compare ENV --methods A B [...]     train several on the same seeds, say which is better
    purepg sweep ENV --over FIELD=VALUES [...] train one with many values of its numbers
    purepg resume RUN                          continue a run that was interrupted
    purepg evaluate RUN [...]                  play fresh games with a saved run's policies
    purepg diagnose ENV [...]                  bias, variance and cost of estimators
    purepg plot RUN [...]                      figures of saved runs
    purepg list                                environments, estimators, other methods, baselines, critics, networks

Bad input is one line on standard error and exit code 2.
"""

import importlib
import os
import sys
import warnings

from purepg.cli import standard_output
from purepg.errors import InvalidInput

_COMMANDS = {  # name → module
    "train": "train",
    "compare": "compare",
    "sweep": "sweep",
    "resume": "resume",
    "evaluate": "evaluate",
    "diagnose": "diagnose",
    "plot": "plot",
    "list": "listing",
}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command `purepg`."""
    try:
        _main(sys.argv[1:] if arguments is None else arguments)
        standard_output.finish()
    except InvalidInput as error:
        print(f"purepg: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        standard_output.drop()
        sys.exit(standard_output.BROKEN_PIPE)
    except MemoryError:
        print(
            "purepg: memory ran out: give fewer seeds or games at a time, or a smaller network",
            file=sys.stderr,
        )
        sys.exit(1)
    except OSError as error:
        standard_output.drop()
        print(f"purepg: {standard_output.explain(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("purepg: interrupted before anything was computed", file=sys.stderr)
        sys.exit(130)


def _main(arguments: list[str]) -> None:
    standard_output.prepare()
    if not arguments or arguments[0] in ("-h", "--help"):
        print((__doc__ or "").strip() + "\n\n`purepg COMMAND --help` explains a command.")
        return
    if arguments[0] == "--version":
        from purepg import __version__

        print(f"purepg {__version__}")
        return
    warnings.showwarning = _show_warning
    # No command opens a window, and a backend that a notebook left there may not be installed.
    os.environ["MPLBACKEND"] = "agg"
    if "" not in sys.path:
        sys.path.append("")  # the current folder, for module:Class; at the end, where it shadows nothing
    if arguments[0] not in _COMMANDS:
        from purepg.names import did_you_mean

        hint = did_you_mean(arguments[0], _COMMANDS)
        raise InvalidInput(f"unknown command {arguments[0]!r}{hint}; known: {', '.join(_COMMANDS)}")
    importlib.import_module(f"purepg.cli.commands.{_COMMANDS[arguments[0]]}").main(arguments[1:])


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"purepg: {message}", file=sys.stderr)
