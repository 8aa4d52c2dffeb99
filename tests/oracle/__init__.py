"""The oracle: sends telemetry whose every record carries its own checksum, breaks things, and reads each store to the last bit."""
