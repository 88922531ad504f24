"""The running system: its supervisor and processes, what it holds of its machine, and what commands ask of it."""
