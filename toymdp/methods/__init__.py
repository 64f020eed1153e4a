"""Every method of the papers: what a user shows -> a policy, evaluated exactly."""
