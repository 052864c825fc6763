"""Delivery as a service: takes events from a durable buffer that other processes store into."""
