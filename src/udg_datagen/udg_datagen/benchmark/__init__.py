"""The benchmark: policies, objects and trials in, tables out. Any policy can enter (docs/benchmark.md)."""
