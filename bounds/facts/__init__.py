"""What claims ask of one solved instance, computed once and freed with its owner."""
