"""The networks as the peers write them; fx's own are in fx.models."""
