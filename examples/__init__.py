"""Scripts for what comes after training, and a notebook that trains."""
