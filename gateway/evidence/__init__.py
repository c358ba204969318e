"""Evidence: offline checks of bundles and leak tracing.

Modules are imported by their own names, so that the web does not load what only the worker and the operator need.
"""
