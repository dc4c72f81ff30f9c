"""How much memory exporting and compiling take, for planners of growing depth."""
