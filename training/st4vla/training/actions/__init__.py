"""Stage 2, action post-training: demonstrations, and the chunks of actions that are learnt from them."""
