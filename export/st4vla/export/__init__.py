"""From a checkpoint to a bundle: graphs, parity, packaging."""
