"""Configurations as data: networks in TOML. Shipped with the package, read by `cluster.config`."""
