"""Storage: addresses, folders with atomic writes, and the lease that lets one driver at a time write a folder."""
