// Memory that nobody has written: outputs left as they were, shared memory and scratch read too early.
#include "harness.h"

namespace faults {
namespace {

using Floats = Array<float>;

// Four elements per thread; the tail that does not fill a vector is forgotten.
template <bool faulty>
__global__ void scale(const float* values, float* result, int n) {
  const int vectors = n / 4, i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < vectors) {
    const float4 v = reinterpret_cast<const float4*>(values)[i];
    reinterpret_cast<float4*>(result)[i] = make_float4(2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w);
  }
  if (!faulty && i < n - 4 * vectors) result[4 * vectors + i] = 2 * values[4 * vectors + i];
}

template <bool faulty>
std::vector<double> unwritten_output() {
  const ganops_emulation::Op scope("unwritten_output");
  Floats values("values", Floats::input, 103, 0, 1), result("result", Floats::output, 103);
  launch(1, 32, scale<faulty>, values.data, result.data, 103);
  return result.values();
}
GANOPS_CASES("unwritten output", unwritten_output)

// As many sums in shared memory as warps; the reader takes 32.
template <bool faulty>
__global__ void sum_of_warps(float* result) {
  __shared__ float partial[32];
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = 1;
  __syncthreads();
  if (threadIdx.x != 0) return;
  float sum = 0;
  for (unsigned i = 0; i < (faulty ? 32 : blockDim.x / 32); ++i) sum += partial[i];
  *result = sum;
}

template <bool faulty>
std::vector<double> uninitialised_shared() {
  const ganops_emulation::Op scope("uninitialised_shared");
  Floats result("result", Floats::output, 1);
  launch(1, 64, sum_of_warps<faulty>, result.data);
  return result.values();
}
GANOPS_CASES("uninitialised shared memory", uninitialised_shared)

// Adds to memory that an allocator just gave.
template <bool faulty>
__global__ void accumulate(const float* values, float* result) {
  if (faulty)
    result[threadIdx.x] += values[threadIdx.x];
  else
    result[threadIdx.x] = values[threadIdx.x];
}

template <bool faulty>
std::vector<double> uninitialised_global() {
  const ganops_emulation::Op scope("uninitialised_global");
  Floats values("values", Floats::input, 32, 0, 1), result("result", Floats::output, 32);
  launch(1, 32, accumulate<faulty>, values.data, result.data);
  return result.values();
}
GANOPS_CASES("uninitialised global memory", uninitialised_global)

}  // namespace
}  // namespace faults
