"""Loading of the published InternVLA-M1 checkpoints."""
