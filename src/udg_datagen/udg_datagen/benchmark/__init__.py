"""The benchmark: policies, objects and trials in, tables out. Anybody's policy can take part (docs/benchmark.md)."""
