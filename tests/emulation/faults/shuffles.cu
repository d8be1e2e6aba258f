// Warp operations that count on lanes which are not there.
#include "harness.h"

namespace faults {
namespace {

using Floats = Array<float>;

__device__ float warp_sum(unsigned mask, float value, int from) {
  for (int offset = from; offset > 0; offset /= 2) value += __shfl_xor_sync(mask, value, offset);
  return value;
}

// The shuffle is inside the branch that only some lanes take.
template <bool faulty>
__global__ void sum_some(const float* values, float* sum, unsigned n) {
  if (faulty) {
    if (threadIdx.x < n) *sum = warp_sum(0xffffffffu, values[threadIdx.x], 16);
  } else {
    const float total = warp_sum(0xffffffffu, threadIdx.x < n ? values[threadIdx.x] : 0.0f, 16);
    if (threadIdx.x == 0) *sum = total;
  }
}

template <bool faulty>
std::vector<double> missing_lanes() {
  const ganops_emulation::Op scope("missing_lanes");
  Floats values("values", Floats::input, 20, 1), sum("sum", Floats::output, 1);
  launch(1, 32, sum_some<faulty>, values.data, sum.data, 20u);
  return sum.values();
}
GANOPS_CASES("shuffle without some lanes", missing_lanes)

// Half the warp sums among itself, but starts from an offset that reaches into the other half.
template <bool faulty>
__global__ void sum_half(const float* values, float* sum) {
  if (threadIdx.x >= 16) return;
  const float total = warp_sum(0x0000ffffu, values[threadIdx.x], faulty ? 16 : 8);
  if (threadIdx.x == 0) *sum = total;
}

template <bool faulty>
std::vector<double> outside_mask() {
  const ganops_emulation::Op scope("outside_mask");
  Floats values("values", Floats::input, 16, 1), sum("sum", Floats::output, 1);
  launch(1, 32, sum_half<faulty>, values.data, sum.data);
  return sum.values();
}
GANOPS_CASES("shuffle from outside the mask", outside_mask)

// The lanes that run together at a branch are whatever the hardware made of it; the ballot says who came.
template <bool faulty>
__global__ void sum_positive(const float* values, float* sum) {
  const float value = values[threadIdx.x];
  const unsigned mask = __ballot_sync(0xffffffffu, value > 0);
  if (value <= 0) return;
  const float total = warp_sum(faulty ? __activemask() : mask, value, 8);
  if (threadIdx.x == 0) *sum = total;
}

template <bool faulty>
std::vector<double> active_mask() {
  const ganops_emulation::Op scope("active_mask");
  Floats values("values", Floats::input, 32, 16, -1), sum("sum", Floats::output, 1);
  launch(1, 32, sum_positive<faulty>, values.data, sum.data);
  return sum.values();
}
GANOPS_CASES("mask from __activemask", active_mask)

// A block of 48 threads has half a second warp.
template <bool faulty>
__global__ void sum_warps(const float* values, float* sums) {
  const bool whole = threadIdx.x < 32;
  const unsigned mask = faulty || whole ? 0xffffffffu : 0x0000ffffu;
  const float total = warp_sum(mask, values[threadIdx.x], faulty || whole ? 16 : 8);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = total;
}

template <bool faulty>
std::vector<double> partial_warp() {
  const ganops_emulation::Op scope("partial_warp");
  Floats values("values", Floats::input, 48, 1), sums("sums", Floats::output, 2);
  launch(1, 48, sum_warps<faulty>, values.data, sums.data);
  return sums.values();
}
GANOPS_CASES("shuffle in a partial warp", partial_warp)

// Every kind of warp operation, in segments too, against sums the host makes.
__global__ void warp_operations(double* result) {
  const unsigned lane = threadIdx.x, all = 0xffffffffu;
  double* mine = result + lane * 12;
  mine[0] = __shfl_sync(all, int(lane), 5);
  mine[1] = __shfl_sync(all, double(lane), 9, 8);
  mine[2] = __shfl_up_sync(all, lane, 3u);
  mine[3] = __shfl_up_sync(all, float(lane), 3u, 8);
  mine[4] = __shfl_down_sync(all, lane, 3u);
  mine[5] = __shfl_down_sync(all, float(lane), 3u, 8);
  mine[6] = __shfl_xor_sync(all, int64_t(lane) << 40, 5) / double(int64_t(1) << 40);
  mine[7] = __ballot_sync(all, lane % 2);
  mine[8] = __all_sync(all, lane < 32) + 2 * __any_sync(all, lane == 7) + 4 * __any_sync(all, lane > 31);
  mine[9] = __reduce_add_sync(all, lane);
  mine[10] = __reduce_min_sync(all, -int(lane));
  mine[11] = __match_any_sync(all, lane / 4);
}

template <bool>
std::vector<double> operations() {
  const ganops_emulation::Op scope("warp_operations");
  Array<double> result("result", Array<double>::output, 32 * 12);
  launch(1, 32, warp_operations, result.data);
  return result.values();
}
static const ganops_emulation::AddCase all_operations("warp operations", &operations<false>);

}  // namespace
}  // namespace faults
