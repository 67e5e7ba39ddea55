"""The ported file: definitions, statement by statement."""
