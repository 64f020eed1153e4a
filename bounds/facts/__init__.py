"""What claims ask of one solved instance, computed once and let go with its owner."""
