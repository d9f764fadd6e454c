"""Golden files of whole runs: exit code, record, events and text of each, through the public face.

``python -m tests.golden_runs --write`` writes them anew; a change of them is reviewed as code is.
"""
