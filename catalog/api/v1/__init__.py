"""API version 1: Murano's, and our additions (docs/architecture.md). `urls` is the map; one module per resource."""
