"""What is true of an instance: optimal values, and what any policy is worth."""
