"""Community repositories: static trees of packages, read over HTTP(S) or from a directory, and built from folders.

`layout` says what is where in one, `transport` fetches files from it, `registry` knows the configured ones, `build`
makes one.
"""
