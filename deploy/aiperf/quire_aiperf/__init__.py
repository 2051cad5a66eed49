"""Quire's gRPC protocol for aiperf; plugins.yaml tells aiperf what is here."""
