"""A PyTorch model as fx source, with its weights, and the proof that both compute the same."""

from fx.porting.proof.prove import Port, port

__all__ = ["Port", "port"]
