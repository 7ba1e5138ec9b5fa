"""The picture library: what is built in, and what platforms put beside it."""
