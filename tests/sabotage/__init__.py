"""Sabotage: faults of one line each, planted in a copy of the tree, which the tests must notice.

``python -m tests.sabotage`` plants each of them in turn and prints the test that fails.
"""
