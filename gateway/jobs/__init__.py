"""Durable execution of releases: the engine, the workflows, the bounded child that reads confidential tables, the worker.

Only this room composes generator, evaluator and the reader of source tables. Start reading in `workflows`.
"""
