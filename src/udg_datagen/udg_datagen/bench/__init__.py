"""The benchmark of grasp synthesis: its parts; the command is `udg_datagen.bench.bench_synthesis`."""
