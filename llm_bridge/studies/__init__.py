"""Studies on the exact oracle: what others' tools do, where the truth is known."""
