"""Measuring: the tabletop, peers, rooflines and reports."""
