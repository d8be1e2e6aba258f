// Two threads at one word with nothing between them.
#include "harness.h"

namespace faults {
namespace {

using Ints = Array<int>;
using Floats = Array<float>;

// A histogram in shared memory, counted with and without atomics.
template <bool faulty>
__global__ void histogram(const int* values, int* counts) {
  __shared__ int bins[8];
  if (threadIdx.x < 8) bins[threadIdx.x] = 0;
  __syncthreads();
  const int bin = values[threadIdx.x] % 8;
  if (faulty)
    ++bins[bin];
  else
    atomicAdd(&bins[bin], 1);
  __syncthreads();
  if (threadIdx.x < 8) counts[threadIdx.x] = bins[threadIdx.x];
}

template <bool faulty>
std::vector<double> shared_race() {
  const ganops_emulation::Op scope("shared_race");
  Ints values("values", Ints::input, 64, 0, 3), counts("counts", Ints::output, 8);
  launch(1, 64, histogram<faulty>, values.data, counts.data);
  return counts.values();
}
GANOPS_CASES("race on shared memory", shared_race)

// Two threads write the same value to one word: harmless today, a race all the same.
template <bool faulty>
__global__ void any_negative(const float* values, int* found) {
  __shared__ int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  const bool negative = values[threadIdx.x] < 0;
  if (faulty && negative) flag = 1;
  const bool any = __syncthreads_or(negative);
  if (threadIdx.x == 0) *found = faulty ? flag : any;
}

template <bool faulty>
std::vector<double> same_value() {
  const ganops_emulation::Op scope("same_value");
  Floats values("values", Floats::input, 64, -10, 1);
  Ints found("found", Ints::output, 1);
  launch(1, 64, any_negative<faulty>, values.data, found.data);
  return found.values();
}
GANOPS_CASES("race of equal writes", same_value)

// Threads of one block meet in global memory.
template <bool faulty>
__global__ void shift(int* values) {
  const int next = values[(threadIdx.x + 1) % blockDim.x];
  if (!faulty) __syncthreads();
  values[threadIdx.x] = next;
}

template <bool faulty>
std::vector<double> global_race() {
  const ganops_emulation::Op scope("global_race");
  Ints values("values", Ints::inout, 64, 0, 1);
  launch(1, 64, shift<faulty>, values.data);
  return values.values();
}
GANOPS_CASES("race on global memory", global_race)

// Blocks meet in global memory: one element too many is each block's own.
template <bool faulty>
__global__ void fill(float* values, unsigned per_block) {
  const unsigned i = blockIdx.x * per_block + threadIdx.x;
  if (threadIdx.x < per_block + (faulty && blockIdx.x == 0)) values[i] = float(blockIdx.x);
}

template <bool faulty>
std::vector<double> block_race() {
  const ganops_emulation::Op scope("block_race");
  Floats values("values", Floats::output, 40);
  launch(4, 32, fill<faulty>, values.data, 10u);
  return values.values();
}
GANOPS_CASES("race between blocks", block_race)

// Halves of one word, by two threads: no race.
__global__ void fill_narrow(unsigned short* values) { values[threadIdx.x] = static_cast<unsigned short>(threadIdx.x); }

template <bool>
std::vector<double> narrow() {
  const ganops_emulation::Op scope("narrow");
  Array<unsigned short> values("values", Array<unsigned short>::output, 65);
  launch(1, 65, fill_narrow, values.data);
  return values.values();
}
static const ganops_emulation::AddCase narrow_writes("neighbours in one word", &narrow<false>);

// "The last block finishes": it adds what the others wrote, which is theirs to publish before they count themselves,
// and its own to look for after.
template <bool publishes, bool looks>
__global__ void sum_all(const int* values, int* partial, unsigned* ticket, int* result) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += values[blockIdx.x * 16 + i];
    partial[blockIdx.x] = sum;
    if (publishes) __threadfence();
    last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
    if (looks) __threadfence();
  }
  __syncthreads();
  if (!last || threadIdx.x >= 32) return;
  int total = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += 32) total += partial[i];
  for (int offset = 16; offset > 0; offset /= 2) total += __shfl_down_sync(0xffffffffu, total, offset);
  if (threadIdx.x == 0) *result = total;
}

template <bool publishes, bool looks>
std::vector<double> count_blocks() {
  const ganops_emulation::Op scope("count_blocks");
  Ints values("values", Ints::input, 16 * 50, 0, 1), partial("partial", Ints::scratch, 50),
      result("result", Ints::output, 1);
  Array<unsigned> ticket("ticket", Array<unsigned>::inout, 1);
  for (int run = 0; run < 2; ++run)
    launch(50, 64, sum_all<publishes, looks>, values.data, partial.data, ticket.data, result.data);
  return result.values();
}
template <bool faulty>
std::vector<double> missing_fence() {
  return count_blocks<!faulty, true>();
}
GANOPS_CASES("missing fence", missing_fence)
template <bool faulty>
std::vector<double> missing_acquire() {
  return count_blocks<true, !faulty>();
}
GANOPS_CASES("missing fence after the ticket", missing_acquire)

// The same where every thread writes a partial sum, fences it, and one thread takes the ticket for all after a barrier.
template <bool faulty>
__global__ void sum_columns(const int* values, int* partial, unsigned* ticket, int* result) {
  __shared__ bool last;
  partial[blockIdx.x * blockDim.x + threadIdx.x] = values[blockIdx.x * blockDim.x + threadIdx.x];
  __threadfence();
  if (!faulty) __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  int total = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b * blockDim.x + threadIdx.x];
  result[threadIdx.x] = total;
}

template <bool faulty>
std::vector<double> early_ticket() {
  const ganops_emulation::Op scope("early_ticket");
  Ints values("values", Ints::input, 64 * 9, 0, 1), partial("partial", Ints::scratch, 64 * 9),
      result("result", Ints::output, 64);
  Array<unsigned> ticket("ticket", Array<unsigned>::inout, 1);
  launch(9, 64, sum_columns<faulty>, values.data, partial.data, ticket.data, result.data);
  return result.values();
}
GANOPS_CASES("ticket before the barrier", early_ticket)

// __syncwarp orders memory within a warp; a shuffle does not.
template <bool faulty>
__global__ void neighbour(const int* values, int* result) {
  __shared__ int line[32];
  line[threadIdx.x] = values[threadIdx.x];
  if (!faulty) __syncwarp();
  result[threadIdx.x] = line[31 - threadIdx.x];
}

template <bool faulty>
std::vector<double> missing_syncwarp() {
  const ganops_emulation::Op scope("missing_syncwarp");
  Ints values("values", Ints::input, 32, 0, 1), result("result", Ints::output, 32);
  launch(1, 32, neighbour<faulty>, values.data, result.data);
  return result.values();
}
GANOPS_CASES("missing __syncwarp", missing_syncwarp)

}  // namespace
}  // namespace faults
