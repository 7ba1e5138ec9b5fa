"""A session: what the platform opened, which peer serves it now, and when it ends."""
