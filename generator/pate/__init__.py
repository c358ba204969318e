"""`pate-gan`: teachers on disjoint shards of units, noisy votes, a student that sees generated rows only."""
