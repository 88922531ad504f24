"""`orders doctor`: whether what the system stands on is as it must be, and what to do where it is not.

examine       all checks in their order; show: the report; check: one finding
installation, local, postgres, kafka, positions, running    the checks
creation      `orders topics create`
"""
