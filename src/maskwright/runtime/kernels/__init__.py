"""Triton kernels for GPUs, each beside its plain PyTorch twin; none is used unless it is asked for.

They are tested under Triton's interpreter on the CPU, and Triton 3.6 and 3.9 compile them for sm_80 and
sm_90; they have not been measured on a GPU. Triton comes with PyTorch's CUDA wheels; the ``..._triton``
modules are imported inside the functions that launch them.
"""
