"""Programs: a generator of small ones, and the environments that have programs written, tested and repaired."""
