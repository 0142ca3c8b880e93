"""What a miniature host exports with: a parse_model of its own, which knows no backbones."""

from models.yolo import Net


def parse_model(config, widths):
    names = []
    for number, (source, repeats, kind, options) in enumerate(config["backbone"] + config["head"]):
        names.append({"Conv": Net}[kind])
    return names
