"""EfficientViT M0 to M5 (Liu et al., CVPR 2023), in PyTorch and in Keras, and its pretrained weights."""
