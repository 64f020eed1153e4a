"""Ways to answer for a user: soups of every kind, and words in the prompt."""
