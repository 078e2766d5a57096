"""File formats that hold images: image files, Parquet and tar shards, one module each."""
