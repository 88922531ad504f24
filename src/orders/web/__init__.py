"""HTTP: the fast lane, the application behind it, and what both stand on."""
