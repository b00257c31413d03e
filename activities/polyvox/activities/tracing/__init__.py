"""OpenTelemetry spans of runs and calls."""
