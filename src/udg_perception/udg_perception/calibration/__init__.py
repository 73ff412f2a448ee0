"""Where the cameras are: by the observed robot or by a ChArUco board, with residuals, and refused when bad."""
