"""Measuring: how fast we are beside our peers (`python -m benchmarks.perf`)."""
