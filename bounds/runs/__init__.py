"""What a run looks at, and how its tasks become records."""
