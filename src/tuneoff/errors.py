"""The one exception that speaks to the user."""


class UserError(ValueError):
    """A request that cannot be carried out: what is wrong, where, and what to do, in one line.

    The command line prints it without a traceback and exits with code 2.
    """
