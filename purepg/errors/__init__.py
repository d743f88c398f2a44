"""Bad input: the exception, whose one line says what was given and what is allowed, and the checks that raise it.

invalid_input   the exception; whole numbers, the one check that needs no array
checks          numbers, including those in the fields of records
shapes          arrays at public boundaries
dtypes          types of state, which stay as they were when it was made
"""

from purepg.errors.invalid_input import InvalidInput, whole_number

__all__ = ["InvalidInput", "whole_number"]
