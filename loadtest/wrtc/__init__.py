"""Peers of libwebrtc, as in browsers, driven through Node: `--client wrtc`.

They encode what they send and adapt it to the connection, decode what comes back, and smooth it
with a browser's jitter buffer. `python -m loadtest.wrtc` installs what they need.
"""
