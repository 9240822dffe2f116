"""Hydra configuration: YAML groups that compose every run (`pkg://conf` needs this file in a wheel)."""
