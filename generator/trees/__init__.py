"""Sequential trees: high fidelity and no privacy guarantee at all; what the gate must be able to refuse."""
