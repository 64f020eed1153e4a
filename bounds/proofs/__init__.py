"""Printed proofs walked step by step on an instance, and the ladder of bounds."""
