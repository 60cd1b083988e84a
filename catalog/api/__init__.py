"""The REST API: what every version of it shares (errors, requests, callers) and version 1 in `v1`."""
