"""csrc/torch/backend.cpp as in the CUDA library, beside stand-ins for CUDA and torch that log what it calls."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]

CUDA = """
#pragma once
#include <cstdio>
#define CUDART_VERSION 13000
enum cudaError_t { cudaSuccess, cudaErrorInsufficientDriver = 35 };
using cudaStream_t = struct CUstream_st*;
inline cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
inline cudaError_t cudaSetDevice(int device) { std::printf("cudaSetDevice(%d)\\n", device); return cudaSuccess; }
inline cudaError_t cudaDriverGetVersion(int* version) { *version = 12080; return cudaSuccess; }
"""
PROGRAM = """
#include <cstdint>
#include "csrc/torch/backend.cpp"

extern "C" {
AOTITorchError aoti_torch_create_device_guard(int32_t device, DeviceGuardHandle* guard) {
  std::printf("guard of %d\\n", device);
  *guard = reinterpret_cast<DeviceGuardHandle>(1);
  return 0;
}
AOTITorchError aoti_torch_delete_device_guard(DeviceGuardHandle) {
  std::printf("back\\n");
  return 0;
}
AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device, void** stream) {
  std::printf("stream of %d\\n", device);
  *stream = reinterpret_cast<void*>(7);
  return 0;
}
}

int main() {
  {
    const ganops::Target target("op", 1);
    std::printf("launch on %d\\n", int(reinterpret_cast<intptr_t>(target.stream())));
  }
  std::printf("runtime %d, driver %d\\n", ganops_cuda_runtime_version(), ganops_cuda_driver_version());
  std::printf("refused %d", int(ganops_refused_bytes()));
  ganops::note_refused_bytes(5);
  std::printf(" %d", int(ganops_refused_bytes()));
  std::printf(" %d\\n", int(ganops_refused_bytes()));
}
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("backend")
    (folder / "cuda_runtime.h").write_text(CUDA)
    (folder / "main.cpp").write_text(PROGRAM)
    flags = ["-std=c++20", "-O0", "-rdynamic", "-DGANOPS_BACKEND_CUDA", "-DGANOPS_ARCHITECTURES=sm_90"]
    flags += ["-DTORCH_TARGET_VERSION=0x020a000000000000", f"-I{folder}", f"-I{ROOT}"]
    flags += [f"-isystem{Path(torch.__file__).parent / 'include'}"]
    command = [*shlex.split(os.environ.get("CXX", "g++")), *flags, folder / "main.cpp", "-ldl", "-o", folder / "main"]
    subprocess.run(command, check=True)
    return subprocess.run([folder / "main"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_torchs_own_guard_sets_the_device(output: list[str]) -> None:
    """Going back by cudaSetDevice would create a context on a device that the process does not use."""
    assert output[:4] == ["guard of 1", "stream of 1", "launch on 7", "back"]


def test_the_library_tells_its_runtime_and_the_driver(output: list[str]) -> None:
    assert output[4] == "runtime 13000, driver 12080"


def test_refused_bytes_are_told_once(output: list[str]) -> None:
    assert output[5] == "refused 0 5 0"
