// The emulator as kernels and their host code see it: scheduling, memory hooks, and the scope of an op.
// A CUDA thread is a fiber; the blocks of a grid run one after another; all state lives in runtime.cpp and memory.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#define GANOPS_NO_INSTRUMENTATION __attribute__((no_sanitize("thread")))

namespace ganops_emulation {

// --- Scheduling: called by the stand-ins of CUDA's intrinsics -----------------------------------------------------

struct Site {  // where in the source an intrinsic was called
  const char* file;
  int line;
};

enum class Vote { none, count, all, any };

// __syncthreads and its reducing forms: waits for every thread of the block, returns the vote over `predicate`.
int barrier(Vote vote, int predicate, Site site);

enum class WarpOp { shuffle, shuffle_up, shuffle_down, shuffle_xor, ballot, all, any, sync, reduce, match };

// One rendezvous of the lanes in `mask`. `bits` is what this lane gives; the result is what it receives: for a shuffle
// the bits of the source lane, for a vote the vote. `combine` is the operation of __reduce_*_sync.
std::uint64_t warp(WarpOp op, unsigned mask, std::uint64_t bits, int argument, int width, Site site,
                   unsigned (*combine)(unsigned, unsigned) = nullptr);

unsigned active_mask();

// __threadfence: what this thread (and, across barriers, its block) wrote before is visible before its next atomic, and
// what it reads after was published before its last one.
void fence();

// --- Memory -------------------------------------------------------------------------------------------------------

// One access of `bytes` to global memory by an access helper: checked for alignment and counted as one transaction.
void on_read(const void* address, std::size_t bytes);
void on_write(const void* address, std::size_t bytes);
// A load through the read-only path, beside the access itself: nothing may write there while the launch runs.
void on_read_only(const void* address, std::size_t bytes, Site site = {});
// A read-modify-write; also the point where blocks synchronise with each other, see fence().
void on_atomic(const void* address, std::size_t bytes);

// --- Ops ----------------------------------------------------------------------------------------------------------

// Launches within the scope are counted under `name`; the buffers registered within it are the memory its kernels may
// touch. At its end every output must have been written.
class Op {
 public:
  explicit Op(const char* name);
  ~Op();
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;
};

void register_input(const void* address, std::size_t bytes, const char* name);
void register_output(const void* address, std::size_t bytes, const char* name);
void register_inout(const void* address, std::size_t bytes, const char* name);
void register_scratch(const void* address, std::size_t bytes, const char* name);
// The host itself wrote (part of) a registered buffer.
void mark_written(const void* address, std::size_t bytes);

// --- Launch -------------------------------------------------------------------------------------------------------

struct Extent {
  unsigned x = 1, y = 1, z = 1;
  std::uint64_t count() const { return std::uint64_t(x) * y * z; }
};

struct Launch {
  Extent grid, block;
  std::size_t dynamic_shared_bytes = 0;
  const void* stream = nullptr;
  const void* kernel = nullptr;  // address of the __global__ function, for its name
  void (*call)(const void* parameters) = nullptr;
  const void* parameters = nullptr;  // the arguments; reading them costs no global memory traffic
  std::size_t parameter_bytes = 0;   // of memory that holds them
  std::size_t argument_bytes = 0;    // of arguments, what CUDA limits
};

int launch(const Launch& launch);  // a cudaError_t
const char* last_fault_text();     // the text of the fault behind cudaErrorLaunchFailure
int multiprocessors();

// The stream that torch would name, and the capture that it is in, 0: none. Launches run at once whatever it is.
void* stream();
std::uint64_t capture();

}  // namespace ganops_emulation
