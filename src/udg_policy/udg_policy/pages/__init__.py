"""What a policy sees, attends to and predicts, on a web page."""
