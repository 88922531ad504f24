"""`python -m orders`."""

import sys

try:
    from orders.commands.cli import main
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] == "orders":
        raise
    sys.exit(
        f"orders: the Python package {missing.name} is missing: remove .venv and start again, "
        "or pip install 'orders[embedded]'"
    )

main()
