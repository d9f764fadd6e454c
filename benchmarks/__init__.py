"""The cost of harvester, against yardsticks measured in the same run: ``python -m benchmarks``.

Each benchmark is a module with ``run(settings) -> Result``; what is measured always runs in a
process of its own, from `benchmarks.programs` or as ``harvester`` itself.
"""
