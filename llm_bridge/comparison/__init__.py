"""What a practitioner asks of a bank: which λ, is the soup better than what others do, which adapters matter."""
