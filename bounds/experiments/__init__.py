"""The papers' experiments in miniature: units of work that become records."""
