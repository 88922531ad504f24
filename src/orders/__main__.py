"""`python -m orders`."""

from orders.cli import main

main()
