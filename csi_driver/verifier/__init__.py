"""Whether what the cache holds is still what was verified when it came."""
