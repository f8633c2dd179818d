"""Loads the plugin that turns a test session into a parity run, and pytest's own for testing it."""

pytest_plugins = ["harness.pytest_plugin", "pytester"]
