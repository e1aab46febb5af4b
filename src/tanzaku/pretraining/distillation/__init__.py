"""Distillation: a smaller encoder learns the hidden states and pooled vectors of a larger one on unlabelled text.

Read `run.py` first: one distillation, top to bottom.
"""
