"""The pages, one controller per subject; URLs follow the attributes of ``RootController``."""
