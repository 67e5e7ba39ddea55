"""The contenders, a file for each peer; a worker process imports one of them."""
