"""Plain values in and out: records, ledgers, witnesses."""
