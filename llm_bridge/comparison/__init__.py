"""What a practitioner asks of a bank: which λ, is the soup better than others, which adapters matter."""
