"""How many pods serve so many sessions, and how full they may be: `python -m loadtest plan`.

A simulation, with nothing to serve: calls.py (who comes and how long they stay), autoscaler.py (the
HorizontalPodAutoscaler's rule), fleet.py (SPINE: pods that fill and empty, step by step),
headroom.py (how full the fleet may be kept before calls are refused). figures.toml holds what a
stream costs, figures.py reads it; table.py and drawing.py say what was found.
"""
