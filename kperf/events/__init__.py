"""Event names: their grammar, what they stand for on a machine, and the list of them."""
