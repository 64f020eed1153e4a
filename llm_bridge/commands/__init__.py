"""``soupcheck llm``: one file a command."""
