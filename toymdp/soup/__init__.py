"""The soup's objective J(λ), its maximiser λ*, and a proved bound on what that missed."""
