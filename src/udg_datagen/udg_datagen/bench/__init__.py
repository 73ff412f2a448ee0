"""The benchmark of grasp synthesis: its parts; the command is `udg_datagen.bench_synthesis`."""
