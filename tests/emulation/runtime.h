// The emulator's own state, shared by its sources and by the Python module; kernels never see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "include/ganops_emulation.h"

namespace ganops_emulation {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

struct Fault {
  std::string kind, kernel, op, where, text;
};

// What one launch did. Bytes are those of global memory, without caches: what several lanes of a warp read together
// (one number for all) counts once in read_bytes, for each lane in requested_read_bytes.
struct LaunchRecord {
  std::string op, kernel;
  Extent grid, block;
  std::uint64_t read_bytes = 0, written_bytes = 0;  // by any load or store
  std::uint64_t requested_read_bytes = 0;
  std::uint64_t vector_read_bytes = 0, vector_written_bytes = 0;  // of these, by the access helpers
  std::uint64_t shared_read_bytes = 0, shared_written_bytes = 0;
  std::uint64_t shared_bytes = 0;  // size of the __shared__ variables it touched
  std::uint64_t barriers = 0, warp_ops = 0, atomics = 0;
  std::uint64_t switches = 0;
  std::vector<std::uintptr_t> atomic_words;  // where its atomics were
  const void* stream = nullptr;
  bool captured = false;
};

struct Settings {
  std::uint64_t seed = 0;  // 0: threads and blocks in their natural order
  int multiprocessors = 8;
  std::uint64_t ends = 0;  // run only so many blocks at each end of a grid; 0: all
  std::uintptr_t stream = 0;
  std::uint64_t capture = 0;
};

extern std::recursive_mutex mutex;  // held for each launch and for the lifetime of an Op
extern Settings settings;
extern std::vector<Fault> faults;
extern std::vector<LaunchRecord> launches;
extern LaunchRecord* launching;  // the launch in progress

void reset();
void record_host_operation(const char* name, std::size_t read_bytes, std::size_t written_bytes);
void remember_error(int error);  // for cudaGetLastError
std::string current_op();

// --- The running thread -------------------------------------------------------------------------------------------

// Records the fault and, when called by a kernel, ends its launch: does not return then.
[[noreturn]] void report(const char* kind, const std::string& text, const void* pc = nullptr, Site site = {});
void report_at_host(const char* kind, const std::string& text);
struct Running {
  std::uintptr_t stacks = 0, stack_bytes = 0;  // the memory of all fibers' stacks
  unsigned thread = 0;                         // linear index within the block
  std::uint64_t block = 0;
};
extern Running now;
// Local memory of some CUDA thread.
inline bool on_stack(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) - now.stacks < now.stack_bytes;
}
// False for host code, whichever thread it runs on.
inline bool on_fiber() { return on_stack(__builtin_frame_address(0)); }
inline unsigned thread_number() { return now.thread; }
inline std::uint64_t block_number() { return now.block; }
std::string thread_name(unsigned thread);
std::string block_name(std::uint64_t block);

// A position in the partial order of a block: which barriers its thread has passed.
struct Position {
  std::uint64_t block;
  unsigned thread, interval, warp_interval;
};
Position position();

// --- Memory (memory.cpp) ------------------------------------------------------------------------------------------

enum class Access { read, write, atomic };

void begin_launch(const Launch& launch);
bool is_variable(std::uintptr_t address);  // whether a __device__ variable is there
void begin_block();                        // poisons shared memory
void end_launch();
void new_position();  // the running thread passed a synchronisation: its accesses count as later ones
void new_positions(unsigned threads);
void access(const void* address, std::size_t bytes, Access kind, const void* pc);
void fence_memory();
bool instrumented();  // whether plain loads and stores are seen, or the helpers' alone
std::size_t buffer_count();
void close_buffers(std::size_t first, bool complete);  // forgets the buffers from `first` on; were the outputs written?

// --- Symbols (symbols.cpp) ----------------------------------------------------------------------------------------

struct SharedVariable {
  std::uintptr_t offset;  // within the thread-local segment
  std::size_t bytes;
  std::string name;
};

struct Image {  // this library in memory
  std::uintptr_t base = 0;
  std::uintptr_t tls_begin = 0;  // the calling thread's copy of the thread-local segment: emulated shared memory
  std::size_t tls_bytes = 0;
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> constant, writable;
};

Image locate_image();
const std::vector<SharedVariable>& shared_variables();
std::string function_name(const void* address);
std::string source_line(const void* pc);

}  // namespace ganops_emulation
