"""Synchronous pixels: one decoded frame in, one composited frame out."""
