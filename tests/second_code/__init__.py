"""Both sides of every claim about token MDPs by slow, separate code: loops and 60 digits.

Nothing of toymdp or bounds is imported here; what is read of an instance are the keys of its file.
"""

from .claims import SECOND, Nothing, Pair
from .instance import World
from .solve import Truth

__all__ = ["SECOND", "Nothing", "Pair", "Truth", "World"]
