"""Scripts for what comes after training."""
