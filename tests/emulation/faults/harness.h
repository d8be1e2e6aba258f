// What the planted faults share: each file launches a kernel twice, as it should be and with one mistake.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <stdexcept>
#include <vector>

#include "cases.h"

namespace faults {

template <typename... Parameters, typename... Arguments>
void launch_on(cudaStream_t stream, unsigned grid, unsigned block, void (*kernel)(Parameters...),
               Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.stream = stream;
  config.gridDim = dim3(grid);
  config.blockDim = dim3(block);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

template <typename... Parameters, typename... Arguments>
void launch(unsigned grid, unsigned block, void (*kernel)(Parameters...), Arguments... arguments) {
  launch_on(nullptr, grid, block, kernel, arguments...);
}

// Device memory under a name: 16-byte aligned, and in the registry of what kernels may touch.
template <typename T>
struct Array {
  enum Role { input, output, inout, scratch };

  std::vector<T> memory;
  T* data;
  std::size_t count;

  Array(const char* name, Role role, std::size_t count, T first = T(0), T step = T(0))
      : memory(count + 32 / sizeof(T)), count(count) {
    data = reinterpret_cast<T*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 15) & ~std::uintptr_t(15));
    for (std::size_t i = 0; i < count; ++i) data[i] = T(first + T(i) * step);
    constexpr auto functions = std::array{&ganops_emulation::register_input, &ganops_emulation::register_output,
                                          &ganops_emulation::register_inout, &ganops_emulation::register_scratch};
    functions[role](data, count * sizeof(T), name);
  }
  std::vector<double> values() const { return {data, data + count}; }
};

}  // namespace faults

#define GANOPS_CASES(name, function)                                                            \
  static const ganops_emulation::AddCase healthy_##function(name "/healthy", &function<false>); \
  static const ganops_emulation::AddCase faulty_##function(name "/faulty", &function<true>);
