"""The ground floor: the documents that people write, and the pure functions that decide over them."""
