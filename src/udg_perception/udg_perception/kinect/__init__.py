"""Azure Kinect depth cameras over pyk4a: live, from recordings, and the writing of recordings."""
