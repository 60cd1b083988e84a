"""The web UI, a client of the REST API."""
