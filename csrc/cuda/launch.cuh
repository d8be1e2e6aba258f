// Starting kernels: one helper, through the launch API, so that one source serves nvcc and the emulator.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "../kernels/common.h"
#include "../math/scalar.h"

namespace ganops::cuda {

constexpr int warp_size = 32;
constexpr int block_size = 256;

// Blocks of a kernel that a multiprocessor shall hold at once: 4 leave a thread 64 registers, 3 leave 80, 2 leave 128.
#define GANOPS_BOUNDS(...) __launch_bounds__(::ganops::cuda::block_size, (__VA_ARGS__))

template <class T>
constexpr bool is_double = sizeof(T) == sizeof(double);

// The grid's first dimension may be 2³¹ − 1; kernels that meet more tiles stride over them.
constexpr int64_t max_blocks = 0x7fffffff;

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("ganops: ") + what + ": " + cudaGetErrorString(error));
}

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, Stream stream, Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(smaller(blocks, max_blocks)));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = static_cast<cudaStream_t>(stream);
  check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), "kernel launch");
}

inline int64_t multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  return count;
}

// Blocks of a grid that fills the card once: what a reduction wants, each block then sums many tiles.
inline int64_t resident_blocks() { return multiprocessors() * 4; }

// Calls f with a value of the element type.
template <class F>
void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::float16:
      return f(Half{});
    case DType::bfloat16:
      return f(BFloat16{});
  }
}

}  // namespace ganops::cuda
