"""Every setting, in one table, and the ways to give it: option, variable, file.

`table` has the settings, `properties` what may be given to Kafka's client beside them, `loading` the order of
precedence. `variables` and `file` read what is given, `given` and `links` say what may be and what belongs together,
`secrets` masks. docs/settings.md is made from them.
"""

from orders.settings.loading import DEFAULT, Effective, environment, explain, inherited, load, public
from orders.settings.properties import variable as property_variable
from orders.settings.secrets import HIDDEN, without_password
from orders.settings.table import OPTIONS, PREFIX, SPECIAL, Settings, allowed, option, variable

__all__ = [
    "DEFAULT",
    "HIDDEN",
    "OPTIONS",
    "PREFIX",
    "SPECIAL",
    "Effective",
    "Settings",
    "allowed",
    "environment",
    "explain",
    "inherited",
    "load",
    "option",
    "property_variable",
    "public",
    "variable",
    "without_password",
]
