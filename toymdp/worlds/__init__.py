"""What an instance of each format is."""
