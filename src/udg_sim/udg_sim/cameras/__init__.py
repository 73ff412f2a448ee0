"""What cameras see of the cell: depth with its noise, pictures, videos."""
