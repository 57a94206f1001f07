"""The user's own code: found, told from what is installed, fingerprinted and pickled."""
