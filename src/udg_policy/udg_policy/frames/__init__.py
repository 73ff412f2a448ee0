"""What training reads: frames of episodes on disk, and in which order and shares they are taken."""
