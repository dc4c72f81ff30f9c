"""Types, manifests, wire format, normalisation and prompts that every room shares."""
