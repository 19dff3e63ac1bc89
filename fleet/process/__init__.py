"""Children: started without a shell, watched, and ended with everything they started."""
