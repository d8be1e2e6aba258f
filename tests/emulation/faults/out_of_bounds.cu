// Accesses that miss their array: a tail nobody checks, an index beyond shared memory, a vector access off its grid.
#include "harness.h"

namespace faults {
namespace {

using Floats = Array<float>;

// Each thread copies one element; the last block reaches beyond the end.
template <bool faulty>
__global__ void copy(const float* from, float* to, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (faulty || i < n) to[i] = from[i];
}

template <bool faulty>
std::vector<double> out_of_bounds() {
  const ganops_emulation::Op scope("out_of_bounds");
  Floats from("from", Floats::input, 100, 0, 1), to("to", Floats::output, 100);
  launch(2, 64, copy<faulty>, from.data, to.data, 100);
  return to.values();
}
GANOPS_CASES("out of bounds", out_of_bounds)

template <bool faulty>
__global__ void rotate(const float* from, float* to) {
  __shared__ float line[32];
  line[threadIdx.x] = from[threadIdx.x];
  __syncthreads();
  const unsigned next = threadIdx.x + 1;
  to[threadIdx.x] = line[faulty ? next : next % 32];
}

template <bool faulty>
std::vector<double> shared_index() {
  const ganops_emulation::Op scope("shared_index");
  Floats from("from", Floats::input, 32, 0, 1), to("to", Floats::output, 32);
  launch(1, 32, rotate<faulty>, from.data, to.data);
  return to.values();
}
GANOPS_CASES("shared index", shared_index)

__global__ void copy_by_four(const float* from, float* to, int n) {
  const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  ganops_emulation::on_read(from + i, 16);
  const float4 value = *reinterpret_cast<const float4*>(from + i);
  ganops_emulation::on_write(to + i, 16);
  *reinterpret_cast<float4*>(to + i) = value;
}

template <bool faulty>
std::vector<double> misaligned() {
  const ganops_emulation::Op scope("misaligned");
  Floats from("from", Floats::input, 65, 0, 1), to("to", Floats::output, 64);
  launch(1, 16, copy_by_four, from.data + faulty, to.data, 64);
  return to.values();
}
GANOPS_CASES("misaligned vector", misaligned)

// The same without the helpers' announcement: the compiler's alignment check sees it.
__global__ void copy_by_four_plainly(const float* from, float* to, int n) {
  const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) *reinterpret_cast<float4*>(to + i) = *reinterpret_cast<const float4*>(from + i);
}

template <bool faulty>
std::vector<double> misaligned_plain() {
  const ganops_emulation::Op scope("misaligned_plain");
  Floats from("from", Floats::input, 65, 0, 1), to("to", Floats::output, 64);
  launch(1, 16, copy_by_four_plainly, from.data + faulty, to.data, 64);
  return to.values();
}
GANOPS_CASES("misaligned plain vector", misaligned_plain)

template <bool faulty>
__global__ void negate(float* values, float* result) {
  result[threadIdx.x] = -values[threadIdx.x];
  if (faulty) values[threadIdx.x] = 0;
}

template <bool faulty>
std::vector<double> write_to_input() {
  const ganops_emulation::Op scope("write_to_input");
  Floats values("values", Floats::input, 32, 0, 1), result("result", Floats::output, 32);
  launch(1, 32, negate<faulty>, values.data, result.data);
  return result.values();
}
GANOPS_CASES("write to an input", write_to_input)

// An index that 32 bits cannot hold.
template <bool faulty>
__global__ void last(const float*, double* result, int rows, int columns) {
  if constexpr (faulty)
    *result = double(rows * columns);
  else
    *result = double(int64_t(rows) * columns);
}

template <bool faulty>
std::vector<double> index_overflow() {
  const ganops_emulation::Op scope("index_overflow");
  Array<double> result("result", Array<double>::output, 1);
  launch(1, 1, last<faulty>, static_cast<const float*>(nullptr), result.data, 1 << 20, 1 << 12);
  return result.values();
}
GANOPS_CASES("32-bit index", index_overflow)

}  // namespace
}  // namespace faults
