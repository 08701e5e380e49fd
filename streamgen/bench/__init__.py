"""Measurements: one module per question, shared by ``streamgen bench`` and the scripts in ``bench/``."""
