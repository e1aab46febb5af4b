"""Tanzaku finds, proves and ships the smallest Japanese text classifier that does the job."""

__version__ = "0.1.0"
