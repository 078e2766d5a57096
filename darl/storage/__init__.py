"""Where files lie: addresses, folders whose files appear whole, and the lease of the one driver that writes."""
