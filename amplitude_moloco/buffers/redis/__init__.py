"""The durable buffer that many machines share: streams in Redis."""
