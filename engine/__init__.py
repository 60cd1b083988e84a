"""The workers that deploy."""
