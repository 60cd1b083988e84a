"""Clouds: what carries out a stack's template. The ports are in `ports`, one module or folder per implementation."""
