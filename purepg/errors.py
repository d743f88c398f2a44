"""The one error that is the user's to mend."""


class InvalidInput(ValueError):
    """What was given cannot work; the message says what was given, what is allowed and what to do.

    The command line prints the message as one line and exits with code 2; a library user sees a
    `ValueError`. Everything else that is raised is a defect of purepg.
    """
