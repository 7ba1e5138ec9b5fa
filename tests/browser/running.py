from tests.running import ROOT, Service, free_port, running

__all__ = ["ROOT", "Service", "free_port", "running"]
