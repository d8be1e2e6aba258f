// Which kernels the wrappers of this library call, and where: the one place that knows the backend. A wrapper declares
// the table of csrc/kernels/<stem>.h with GANOPS_DECLARE_KERNELS, and calls it as GANOPS_KERNELS(<stem>).
//
// The same wrappers are compiled for each backend. GANOPS_BACKEND_CUDA: the kernels of csrc/cuda, for CUDA tensors, or,
// with GANOPS_EMULATED too, the same kernels run by the emulator of the tests for CPU tensors. Otherwise csrc/cpu.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>

#include <string>

#include "../kernels/common.h"

#if defined(GANOPS_BACKEND_CUDA)

#include <cuda_runtime.h>

#define GANOPS_DECLARE_KERNELS(Table, stem) \
  namespace ganops::cuda {                  \
  extern const Table stem;                  \
  }
#define GANOPS_KERNELS(stem) ::ganops::cuda::stem

#else

#include "../cpu/isa.h"

#define GANOPS_DECLARE_KERNELS(Table, stem) GANOPS_CPU_TABLE(Table, stem)
#define GANOPS_KERNELS(stem) ::ganops::cpu::stem()

#endif

#if defined(GANOPS_BACKEND_CUDA) && !defined(GANOPS_EMULATED)
#define GANOPS_REGISTER(m) STABLE_TORCH_LIBRARY_IMPL(ganops, CUDA, m)
#else
#define GANOPS_REGISTER(m) STABLE_TORCH_LIBRARY_IMPL(ganops, CPU, m)
#endif

namespace ganops {

// For the lifetime of a Target, `device` is the current device and `stream` is the stream that torch uses on it.
class Target {
 public:
  Target(const char* op, int32_t device);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  Stream stream() const { return stream_; }

 private:
#if defined(GANOPS_EMULATED)
  ganops_emulation::Op scope_;
#elif defined(GANOPS_BACKEND_CUDA)
  // torch's own guard: going back to a device on which this process has no context creates none. cudaSetDevice would,
  // half a gigabyte on the first GPU for each process that works on another.
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  Stream stream_ = nullptr;
};

// Remembers, for this thread, how many bytes torch's allocator has just refused. The stable ABI turns an exception of
// torch into an error code, so that its type is lost; Python asks for the bytes and raises what torch raises
// (ganops/_memory.py).
void note_refused_bytes(int64_t bytes);

}  // namespace ganops
