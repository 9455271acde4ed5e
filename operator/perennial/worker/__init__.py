"""What runs in Jobs and init containers: checks and materialises data, fetches and evaluates models."""
