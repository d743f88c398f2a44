"""When standard output cannot be written: one line, and the exit code that other tools use."""

import codecs
import errno
import os
import sys

BROKEN_PIPE = 128 + 13  # as of a process that SIGPIPE kills

_PLAIN = dict(zip("−–—─━│┃×·…≥≤→±", "- - - - - | | x . ... >= <= -> +/-".split(" "), strict=True))  # noqa: SIM905


def prepare() -> None:
    """Replaces characters that the encoding lacks by plain ones.

    Raises:
      OSError: standard output is closed.
    """
    codecs.register_error("purepg.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="purepg.plain")  # pyright: ignore
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed: send it to a file or to /dev/null")


def explain(error: OSError) -> str:
    """The message for a file that cannot be written or read."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


def finish() -> None:
    """Writes what is still buffered, so that a full disk shows before the process reports success."""
    sys.stdout.flush()


def drop() -> None:
    """Discards further output: the interpreter's own attempt at exit would fail as ours did."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in letters), error.end
