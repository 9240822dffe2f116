"""Engines of r1-bench: what draws samples from a model, in this process or on a server."""
