"""The catalog's database: one module per resource, tables and queries together."""
