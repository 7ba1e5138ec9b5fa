"""Load and latency from outside: real WebRTC sessions against a server, counted at both its ends.

Knows nothing of the service's code: what it measures holds for any server that sends video back.
Start reading at run.py. docs/performance.md has the commands and what they gave.
"""
