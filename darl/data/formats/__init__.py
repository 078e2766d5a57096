"""How files hold images: one file format (image files, Parquet, tar shards) in one module each."""
