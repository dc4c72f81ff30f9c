"""The model, its data and its two stages of training."""
