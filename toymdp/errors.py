"""What a refusal says when something does not fit: field, value, rule, remedy, on one line."""

from __future__ import annotations


class InstanceError(ValueError):
    """An instance, or the file it came from, breaks a rule of ``token-mdp/1``."""

    @classmethod
    def of(cls, field: str, value: object, rule: str, remedy: str) -> InstanceError:
        """Build the one-line message from its four parts."""
        shown = repr(value) if isinstance(value, str) else str(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        return cls(f"{field} = {' '.join(shown.split())}: {rule}; {remedy}")


class SolverError(RuntimeError):
    """A solve has no answer, for a stated mathematical reason (never a silent bare array)."""


class CorpusError(ValueError):
    """A corpus that cannot be used: one line with file, line, value, rule and remedy."""


class ClaimError(RuntimeError):
    """The code of a claim or of a hypothesis failed; the text says which, and how, in one line."""


class OutputError(Exception):
    """A file could not be written; the text says which and why, in one line."""
