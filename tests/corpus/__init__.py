"""Failures with labels: what ``classify`` is measured against.

The SDKs are the real ones, driven against a loopback server that answers what the providers do.
``python -m tests.corpus`` prints the score; a test holds a floor under it.
"""
