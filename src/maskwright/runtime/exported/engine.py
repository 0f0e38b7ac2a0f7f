"""What executes a graph: arrays by name in, arrays by name out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Setting(NamedTuple):
    """How graphs are executed."""

    device: str
    """``cpu``, or ``cuda`` with a number after a colon."""
    dtype: str
    """Compute dtype: ``float32`` or ``bfloat16``."""
    threads: int


class Engine(Protocol):
    """One loaded graph. Any number of threads may share it."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Contiguous arrays in; the arrays given back are the caller's."""
        ...


class OpenVinoEngine:
    """A graph on OpenVINO's CPU device."""

    def __init__(self, path: Path, setting: Setting) -> None:
        import openvino

        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if setting.dtype == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": setting.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = openvino.Core().compile_model(str(path), "CPU", hints)
        self._names = [one.get_any_name() for one in self._compiled.outputs]
        self._idle: list[Any] = []
        """Requests that nobody uses now: each holds the buffers of one call."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            results = request.infer(dict(inputs), share_inputs=True, share_outputs=False)
            return {name: results[number] for number, name in enumerate(self._names)}
        finally:
            self._idle.append(request)


class OnnxEngine:
    """A graph on ONNX Runtime."""

    def __init__(self, path: Path, setting: Setting) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setting.threads
        options.log_severity_level = 3  # errors only: its warnings are about its own optimisations
        kind, _, number = setting.device.partition(":")
        providers: list[Any] = ["CPUExecutionProvider"]
        if kind == "cuda":
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": number or "0"}))
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self._names = [one.name for one in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        results = self._session.run(self._names, dict(inputs))
        return dict(zip(self._names, results, strict=True))
