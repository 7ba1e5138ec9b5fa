"""The OpenAPI document against the routes, the parsers, docs/api.md and a live service."""
