"""The policy network: its inputs, layers and fast kernels, its weights in files, and a plain reference."""
