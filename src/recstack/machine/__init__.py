"""What the machine at hand can do."""
