// Launches that are under way at once, or that the read-only path and the compiler know less of than they seem to.
#include "harness.h"
#include "runtime.h"

namespace faults {
namespace {

using Ints = Array<int>;

__device__ unsigned counts[2];

// Each block counts itself, and the last one leaves the count at 0.
__global__ void count(unsigned* cleared, int word, int* last) {
  unsigned* finished = word < 0 ? cleared : counts + word;
  if (threadIdx.x == 0 && atomicInc(finished, gridDim.x - 1) == gridDim.x - 1) *last = int(blockIdx.x);
}

// A launch on each of two streams, which wait for nothing from each other.
template <bool faulty>
std::vector<double> streams() {
  const ganops_emulation::Op scope("streams");
  Ints last("last", Ints::output, 2);
  for (int stream = 0; stream < 2; ++stream) {
    launch_on(reinterpret_cast<cudaStream_t>(std::uintptr_t(stream + 1)), 3, 32, count, nullptr, faulty ? 0 : stream,
              last.data + stream);
  }
  return {double(last.values().size())};
}
GANOPS_CASES("word shared by streams", streams)

// A captured launch: two executables of its graph run it at once.
template <bool faulty>
std::vector<double> executables() {
  const ganops_emulation::Op scope("executables");
  Ints last("last", Ints::output, 1);
  Array<unsigned> cleared("cleared", Array<unsigned>::scratch, 1);
  const auto stream = reinterpret_cast<cudaStream_t>(std::uintptr_t(7));
  struct Capture {
    ganops_emulation::Settings before = ganops_emulation::settings;
    ~Capture() { ganops_emulation::settings = before; }
  } capture;
  ganops_emulation::settings.stream = 7;
  ganops_emulation::settings.capture = 1;
  cudaMemsetAsync(cleared.data, 0, sizeof(unsigned), stream);
  launch_on(stream, 3, 32, count, cleared.data, faulty ? 1 : -1, last.data);
  return {double(last.values().size())};
}
GANOPS_CASES("word shared by executables", executables)

// In place: through the read-only path a thread may see what was there before, or after.
template <bool faulty>
__global__ void reverse(int* values) {
  const unsigned i = threadIdx.x;
  const int mirrored = faulty ? __ldg(values + 63 - i) : values[63 - i];
  __syncthreads();
  values[i] = mirrored;
}

template <bool faulty>
std::vector<double> read_only() {
  const ganops_emulation::Op scope("read_only");
  Ints values("values", Ints::inout, 64, 0, 1);
  launch(1, 64, reverse<faulty>, values.data);
  return values.values();
}
GANOPS_CASES("write to read-only memory", read_only)

// The other way about: the launch reads through that path what it wrote before.
template <bool faulty>
__global__ void fill_and_read(int* values, int* sum) {
  values[threadIdx.x] = int(threadIdx.x);
  __syncthreads();
  const int next = (threadIdx.x + 1) % 64;
  sum[threadIdx.x] = faulty ? __ldg(values + next) : values[next];
}

template <bool faulty>
std::vector<double> stale_read() {
  const ganops_emulation::Op scope("stale_read");
  Ints values("values", Ints::scratch, 64), sum("sum", Ints::output, 64);
  launch(1, 64, fill_and_read<faulty>, values.data, sum.data);
  return sum.values();
}
GANOPS_CASES("read-only load of what was written", stale_read)

}  // namespace
}  // namespace faults
