"""The verbs of `st4vla device`: each module has `configure(parser)` and `run(options)`, as a `Command` does."""
