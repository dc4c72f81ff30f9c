"""Stage 1, spatial grounding: questions about pictures, and answers that say where things are."""
