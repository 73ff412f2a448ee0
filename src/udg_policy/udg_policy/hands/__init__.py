"""Where the hands are: poses, surfaces and fingertips from joint angles."""
