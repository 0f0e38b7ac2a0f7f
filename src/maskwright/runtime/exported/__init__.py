"""The verbs as ONNX graphs in a folder, and the runtimes that execute them: OpenVINO and ONNX Runtime."""
