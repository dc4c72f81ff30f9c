"""The tabletop: a simulated Franka Panda at a table with a few objects, seen by two cameras."""
