"""The chandlery command."""
