"""OpenTelemetry: traces and metrics over OTLP. Loaded if there is a collector to send them to, and not otherwise."""
