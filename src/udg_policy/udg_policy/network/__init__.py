"""The policy network: its inputs, its layers and quick kernels, its weights in files, and itself written plainly."""
