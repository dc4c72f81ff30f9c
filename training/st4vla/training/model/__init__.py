"""Define the policy's modules in PyTorch, with the parameter names of the published checkpoints."""
