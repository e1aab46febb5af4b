"""Masked-language-model pretraining, from scratch or continued: text -> vocabulary -> token stream -> loop -> encoder.

Read `run.py` first: one pretraining, top to bottom.
"""
