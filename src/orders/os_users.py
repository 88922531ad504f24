"""Users of the operating system, by name."""

import pwd


def name_of(number: int) -> str:
    """The name of a user; the number where it has none, as a container's user often."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
