"""From depth images to the scene cloud that the policy sees."""
