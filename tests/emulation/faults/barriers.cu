// Barriers that are missing, or that not every thread reaches.
#include "harness.h"

namespace faults {
namespace {

using Doubles = Array<double>;

__device__ double warp_sum(double value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffffu, value, offset);
  return value;
}

// The sum of a block in its first thread: within each warp by shuffles, then over the warps' sums in shared memory.
template <bool faulty>
__device__ double block_sum(double value) {
  __shared__ double partial[32];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  if (!faulty) __syncthreads();
  if (threadIdx.x >= 32) return 0;
  return warp_sum(threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0.0);
}

template <bool faulty>
__global__ void sum_rows(const double* values, double* sums, int n) {
  double value = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) value += values[blockIdx.x * n + i];
  value = block_sum<faulty>(value);
  if (threadIdx.x == 0) sums[blockIdx.x] = value;
}

template <bool faulty>
std::vector<double> missing_barrier() {
  const ganops_emulation::Op scope("missing_barrier");
  constexpr int rows = 4, n = 1000;
  Doubles values("values", Doubles::input, rows * n, 0, 1), sums("sums", Doubles::output, rows);
  launch(rows, 256, sum_rows<faulty>, values.data, sums.data, n);
  return sums.values();
}
GANOPS_CASES("missing barrier", missing_barrier)

// The reduction whose time bounds that of the suite.
template <bool>
std::vector<double> large_reduction() {
  const ganops_emulation::Op scope("large_reduction");
  constexpr int rows = 64, n = 1024;
  Doubles values("values", Doubles::input, rows * n, 0, 1), sums("sums", Doubles::output, rows);
  launch(rows, 256, sum_rows<false>, values.data, sums.data, n);
  return sums.values();
}
static const ganops_emulation::AddCase large("large reduction", &large_reduction<false>);

// Two reductions that share memory: the second may overwrite what the first still reads.
template <bool faulty>
__device__ double reusable_block_sum(double value) {
  __shared__ double partial[32];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += partial[i];
  if (!faulty) __syncthreads();
  return sum;
}

template <bool faulty>
__global__ void normalise(const double* values, double* result) {
  const double value = values[threadIdx.x];
  const double sum = reusable_block_sum<faulty>(value);
  const double squares = reusable_block_sum<faulty>(value * value);
  result[threadIdx.x] = (value - sum / blockDim.x) / squares;
}

template <bool faulty>
std::vector<double> reused_memory() {
  const ganops_emulation::Op scope("reused_memory");
  Doubles values("values", Doubles::input, 128, 0, 1), result("result", Doubles::output, 128);
  launch(1, 128, normalise<faulty>, values.data, result.data);
  return result.values();
}
GANOPS_CASES("reused shared memory", reused_memory)

// The threads without an element return before the barrier.
template <bool faulty>
__global__ void reverse(const double* values, double* result, unsigned n) {
  __shared__ double line[64];
  if (faulty && threadIdx.x >= n) return;
  if (threadIdx.x < n) line[threadIdx.x] = values[threadIdx.x];
  __syncthreads();
  if (threadIdx.x < n) result[threadIdx.x] = line[n - 1 - threadIdx.x];
}

template <bool faulty>
std::vector<double> early_return() {
  const ganops_emulation::Op scope("early_return");
  Doubles values("values", Doubles::input, 50, 0, 1), result("result", Doubles::output, 50);
  launch(1, 64, reverse<faulty>, values.data, result.data, 50u);
  return result.values();
}
GANOPS_CASES("return before a barrier", early_return)

// Each side of a branch has its own barrier.
template <bool faulty>
__global__ void exchange(const double* values, double* result) {
  __shared__ double line[64];
  line[threadIdx.x] = values[threadIdx.x];
  if (faulty && threadIdx.x < 32) {
    __syncthreads();
    result[threadIdx.x] = line[threadIdx.x + 32];
  } else {
    __syncthreads();
    result[threadIdx.x] = line[(threadIdx.x + 32) % 64];
  }
}

template <bool faulty>
std::vector<double> two_barriers() {
  const ganops_emulation::Op scope("two_barriers");
  Doubles values("values", Doubles::input, 64, 0, 1), result("result", Doubles::output, 64);
  launch(1, 64, exchange<faulty>, values.data, result.data);
  return result.values();
}
GANOPS_CASES("divergent barrier", two_barriers)

}  // namespace
}  // namespace faults
