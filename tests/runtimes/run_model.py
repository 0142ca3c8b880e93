"""Run an exported detector on one image: python run_model.py RUNTIME MODEL IMAGE.npy RESULT.npy

Runs in an environment that has the runtime, and needs NumPy besides. IMAGE is `(1, 3, H, W)` from 0 to 1, RESULT what
the detector gives first. Each function loads a model and returns the function that runs it.
"""

import sys

import numpy as np

THREADS = 2


def ncnn(model, half=False):
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = THREADS
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = half
    network.load_param(f"{model}.ncnn.param")
    network.load_model(f"{model}.ncnn.bin")

    def run(image):
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(image[0]))
        return np.array(extractor.extract("out0")[1])[None]

    return run


def ncnn_half(model):
    return ncnn(model, half=True)


def mnn(model):
    import MNN.nn
    import MNN.numpy

    network = MNN.nn.load_module_from_file(model, ["images"], ["output0"])

    def run(image):
        result = network.forward([MNN.numpy.array(image)])[0]
        return np.array(MNN.expr.convert(result, MNN.expr.NCHW).read())

    return run


def opencv(model):
    import cv2

    cv2.setNumThreads(THREADS)
    network = cv2.dnn.readNetFromONNX(model)

    def run(image):
        network.setInput(image)
        return network.forward("output0")

    return run


def onnxruntime(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # else it takes time from other models
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["output0"], {"images": image})[0]


def openvino(model):
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda image: request.infer([image])["output0"]


def paddle(model):
    from paddle import inference

    config = inference.Config(f"{model}/inference_model/model.json", f"{model}/inference_model/model.pdiparams")
    config.disable_mkldnn()  # with it, Paddle 3.3 cannot run any YOLOv5, not even a stock one
    config.set_cpu_math_library_num_threads(THREADS)
    predictor = inference.create_predictor(config)

    def run(image):
        predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(image)
        predictor.run()
        return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()

    return run


def executorch(model):
    import torch
    from executorch.runtime import Runtime

    # it uses as many threads as there are cores
    method = Runtime.get().load_program(model).load_method("forward")
    return lambda image: method.execute([torch.from_numpy(image)])[0].numpy()


def rknn(model):
    from rknn.api import RKNN

    toolkit = RKNN()
    toolkit.config(target_platform="rk3588")
    toolkit.load_onnx(model)
    toolkit.build(do_quantization=False)
    toolkit.init_runtime()
    return lambda image: toolkit.inference([image], data_format=["nchw"])[0]


if __name__ == "__main__":
    runtime, model, image, result = sys.argv[1:]
    np.save(result, globals()[runtime](model)(np.load(image)))
