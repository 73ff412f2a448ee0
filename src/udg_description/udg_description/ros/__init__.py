"""What every node of the stack shares: topics, parameters, conversions, diagnostics, start and stop."""
