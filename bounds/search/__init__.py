"""Looking for instances that break a claim: gradients, CMA-ES, restarts, shrinking."""
