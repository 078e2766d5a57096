"""Tokenizers: each patch as one of a fixed number of tokens. One file each; see `darl.model.tokenizers.base`."""
