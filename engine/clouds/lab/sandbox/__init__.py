"""Sandboxes: what a server of the lab is made of. Standard library only: the keeper runs without the service."""
