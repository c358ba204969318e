"""Fit generators to confidential tables under differential privacy, and sample synthetic rows from them.

Knows tables and privacy; knows nothing of HTTP, tickets, databases or the evaluator. Importing this package loads
nothing heavy; a family is loaded when `registry.create` is called with its name.

Reading order: `base` (what a generator is) → `registry` (by name) → `encoding` (table ↔ codes from the card alone) →
`zcdp` and `noise` (what a look costs and where the noise comes from) → `marginal.family` (the default generator, end to
end) → `marginal.structure`, `marginal.junction`, `marginal.inference` (its parts) → `trees.family` (the sparring partner).
"""
