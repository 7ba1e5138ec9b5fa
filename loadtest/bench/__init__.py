"""The benchmark that is kept: this service beside the usual way, and beside what it must cost.

`scripts/bench` runs it; start reading at __main__.py. Knows nothing of the service's code.
"""
