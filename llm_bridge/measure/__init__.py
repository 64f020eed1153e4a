"""What the theory says of a bank of adapters, token by token and over whole answers."""
