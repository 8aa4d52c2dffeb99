"""PromQL: parser and matrix engine."""
