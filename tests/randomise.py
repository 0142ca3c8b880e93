"""Random values for a backbone of EfficientViT, for the scripts that run inside a checkout."""

import torch


def randomise(module):
    """Let every tensor matter: no branch starts as zero, and no statistics are those of a new batch norm."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith(("bn.weight", "running_var")):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("bn.bias", "running_mean", "attention_biases", "attention.bias")):
                value.normal_(0, 0.2)
