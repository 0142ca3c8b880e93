"""Any model of timm that gives feature maps, as a backbone."""
