"""Pictures of what a trained backbone computes of a photograph: its maps, and EfficientViT's attention."""
