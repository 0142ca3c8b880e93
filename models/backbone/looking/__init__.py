"""Pictures of the maps that a trained backbone computes of a photograph, and of EfficientViT's attention."""
