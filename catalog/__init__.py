"""The application catalog: REST API, database, packages, repositories."""
