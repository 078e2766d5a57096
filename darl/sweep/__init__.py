"""Sweeps as plain data: which experiments, judged by what, compared with what. No Ray."""
