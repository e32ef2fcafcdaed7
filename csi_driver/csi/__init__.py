"""The driver's gRPC services, and nothing but gRPC."""
