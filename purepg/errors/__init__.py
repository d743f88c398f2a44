"""Bad input: the exception, one line that says what was given and what is allowed, and the checks that raise it.

invalid_input   the exception; whole numbers, the one check that needs no array
checks          numbers that are numbers, also in the fields of records
shapes          arrays at public boundaries
dtypes          types of state, fixed where state is made
"""

from purepg.errors.invalid_input import InvalidInput, whole_number

__all__ = ["InvalidInput", "whole_number"]
