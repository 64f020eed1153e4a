"""Adapters, the small model and the bundled bank made from data."""
