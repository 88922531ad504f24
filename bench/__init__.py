"""Measures the service beside what it stands on and what one would use instead; `make bench`, bench/README.md."""
