"""What stands for what: the table of calls, and the twins of other libraries' classes."""
