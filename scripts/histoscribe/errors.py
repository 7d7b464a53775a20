"""The one error class for what a user can mend, and how its text is built."""


class UserError(Exception):
    """Something in the user's input is wrong and can be mended by the user."""


def problem(where: str, found: object, expected: str, remedy: str) -> str:
    """Word one problem: where it is, what was found, what was expected, what to do."""
    return f"{where}: found {found}; expected {expected}. {remedy}"
