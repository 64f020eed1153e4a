"""The statements: the catalogue, the hypotheses, and one file a section of a paper."""
