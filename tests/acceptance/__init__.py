"""The service as its users meet it: a real process, real peers, pictures judged from outside."""
