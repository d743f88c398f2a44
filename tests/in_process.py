"""The command line in this process."""

from purepg import cli


def purepg_command(*arguments) -> int:
    """Runs the command; its exit code."""
    try:
        cli.main([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
