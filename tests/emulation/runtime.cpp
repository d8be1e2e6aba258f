// The scheduler: runs the threads of one block as fibers, block after block.
//
// A fiber runs until it waits (for a barrier or for the lanes of a warp operation) or returns. The scheduler then
// resumes the next runnable one in the block's order, which the seed permutes: no result may depend on it. A sweep
// over the block that finds nobody runnable either completes a barrier or has found threads that wait for each other
// in vain, and says who waits where.
#include "runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <numeric>
#include <random>

#include "fiber.h"

// The definitions behind the const declarations of the stand-in <cuda_runtime.h>, which this file must not include.
struct ThreadCoordinates {
  unsigned x, y, z;
};
// In a section of their own, so that reading them is not taken for memory traffic.
#define GANOPS_COORDINATES __attribute__((visibility("hidden"), section("ganops_coordinates"))) ThreadCoordinates
GANOPS_COORDINATES threadIdx;
GANOPS_COORDINATES blockIdx;
GANOPS_COORDINATES blockDim;
GANOPS_COORDINATES gridDim;

#ifndef GANOPS_UCONTEXT
asm(R"(
.text
.globl ganops_emulation_switch
.hidden ganops_emulation_switch
.type ganops_emulation_switch, @function
ganops_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ganops_emulation_switch, .-ganops_emulation_switch
)");
#endif

namespace ganops_emulation {

std::recursive_mutex mutex;
Settings settings = [] {
  Settings initial;
  if (const char* seed = std::getenv("GANOPS_EMULATION_SEED")) initial.seed = std::strtoull(seed, nullptr, 10);
  return initial;
}();
std::vector<Fault> faults;
std::vector<LaunchRecord> launches;
LaunchRecord* launching = nullptr;
Running now;

namespace {

constexpr unsigned max_threads = 1024, warp_size = 32;
constexpr int launch_failure = 719, invalid_configuration = 9;
#ifdef GANOPS_SANITIZE
constexpr std::size_t stack_bytes = 256 << 10;
#else
constexpr std::size_t stack_bytes = 128 << 10;
#endif
constexpr std::size_t guard_bytes = 4096, stack_stride = stack_bytes + guard_bytes;

enum class State : std::uint8_t { ready, at_barrier, at_warp_op, exited };

struct Fiber {
  Context context{};
  State state = State::exited;
  ThreadCoordinates index{};
  unsigned number = 0, warp_interval = 0;
  bool asked_who_is_active = false;
  Site site{};
  // The barrier or warp operation it waits at, and what it receives.
  Vote vote = Vote::none;
  int predicate = 0, argument = 0, width = 32;
  WarpOp op = WarpOp::sync;
  unsigned mask = 0;
  std::uint64_t bits = 0, result = 0;
  unsigned (*combine)(unsigned, unsigned) = nullptr;
};

struct OpenOp {
  std::string name;
  std::size_t buffers, faults;  // how many there were when it began
};
std::vector<OpenOp> open_ops;
std::string fault_text;

char* arena = nullptr;
Fiber fibers[max_threads];
Fiber* running = nullptr;
Context scheduler;
StackSpan scheduler_stack;

const Launch* current = nullptr;
unsigned thread_count = 0, alive = 0, waiting = 0, interval = 0;
bool failed = false;

char* stack_of(unsigned thread) { return arena + thread * stack_stride + guard_bytes; }

void allocate_stacks() {
  if (arena != nullptr) return;
  void* memory = mmap(nullptr, max_threads * stack_stride, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::fprintf(stderr, "ganops emulation: no memory for %u stacks\n", max_threads);
    std::abort();
  }
  arena = static_cast<char*>(memory);
  now.stacks = reinterpret_cast<std::uintptr_t>(arena);
  now.stack_bytes = max_threads * stack_stride;
  for (unsigned i = 0; i < max_threads; ++i) mprotect(arena + i * stack_stride, guard_bytes, PROT_NONE);
}

void to_scheduler(bool for_good = false) {
  Fiber* self = running;
  switch_to(self->context, scheduler, scheduler_stack, for_good);
}

void fiber_main() {
  arrived_first_time();
  current->call(current->parameters);
  running->state = State::exited;
  to_scheduler(true);
}

void resume(Fiber& fiber) {
  running = &fiber;
  now.thread = fiber.number;
  threadIdx = fiber.index;
  ++launching->switches;
  switch_to(scheduler, fiber.context, {stack_of(fiber.number), stack_bytes});
  running = nullptr;
}

std::string at(const Site& site) {
  if (site.file == nullptr) return "";
  const std::string file = site.file;
  const auto slash = file.rfind('/');
  return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" + std::to_string(site.line);
}

const char* text(WarpOp op) {
  switch (op) {
    case WarpOp::shuffle:
      return "__shfl_sync";
    case WarpOp::shuffle_up:
      return "__shfl_up_sync";
    case WarpOp::shuffle_down:
      return "__shfl_down_sync";
    case WarpOp::shuffle_xor:
      return "__shfl_xor_sync";
    case WarpOp::ballot:
      return "__ballot_sync";
    case WarpOp::all:
      return "__all_sync";
    case WarpOp::any:
      return "__any_sync";
    case WarpOp::sync:
      return "__syncwarp";
    case WarpOp::reduce:
      return "__reduce_sync";
    case WarpOp::match:
      return "__match_any_sync";
  }
  return "";
}

std::string coordinates(unsigned x, unsigned y, unsigned z) {
  return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

std::string hexadecimal(unsigned mask) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "0x%08x", mask);
  return buffer;
}

std::string doing(const Fiber& fiber) {
  switch (fiber.state) {
    case State::exited:
      return "has returned";
    case State::at_barrier:
      return "waits at __syncthreads (" + at(fiber.site) + ")";
    case State::at_warp_op:
      return std::string("waits at ") + text(fiber.op) + " (" + at(fiber.site) + ") with mask " +
             hexadecimal(fiber.mask);
    default:
      return "runs";
  }
}

void record(const char* kind, const std::string& detail, const std::string& where, const std::string& who) {
  Fault fault;
  fault.kind = kind;
  fault.op = current_op();
  fault.kernel = launching == nullptr ? "" : launching->kernel;
  fault.where = where;
  fault.text = std::string("emulated CUDA: ") + kind + ": " + detail;
  if (launching != nullptr) fault.text += "; kernel " + fault.kernel;
  if (!who.empty()) fault.text += ", " + who;
  if (!fault.op.empty()) fault.text += ", op " + fault.op;
  if (!where.empty()) fault.text += ", at " + where;
  fault_text = fault.text;
  faults.push_back(std::move(fault));
}

// --- Barriers ---

void complete_barrier() {
  const Fiber* first = nullptr;
  int votes = 0;
  for (unsigned i = 0; i < thread_count; ++i) {
    const Fiber& fiber = fibers[i];
    if (fiber.state == State::exited) {
      const Fiber* waiter =
          std::find_if(fibers, fibers + thread_count, [](const Fiber& f) { return f.state == State::at_barrier; });
      record("barrier divergence",
             "thread " + thread_name(i) + " has returned, while " + std::to_string(waiting) +
                 " threads wait at __syncthreads",
             at(waiter->site), "block " + block_name(now.block) + ", thread " + thread_name(waiter->number));
      failed = true;
      return;
    }
    if (first == nullptr) first = &fiber;
    if (fiber.site.line != first->site.line || fiber.site.file != first->site.file || fiber.vote != first->vote) {
      record("barrier divergence",
             "thread " + thread_name(first->number) + " " + doing(*first) + ", thread " + thread_name(i) + " " +
                 doing(fiber),
             at(fiber.site), "block " + block_name(now.block));
      failed = true;
      return;
    }
    votes += fiber.predicate != 0;
  }
  int result = 0;
  if (first->vote == Vote::count) result = votes;
  if (first->vote == Vote::all) result = votes == int(thread_count);
  if (first->vote == Vote::any) result = votes > 0;
  for (unsigned i = 0; i < thread_count; ++i) {
    fibers[i].predicate = result;
    fibers[i].state = State::ready;
  }
  waiting = 0;
  ++interval;
  ++launching->barriers;
  new_positions(thread_count);
}

// --- Warp operations ---

bool together(const Fiber& a, const Fiber& b) {
  return b.state == State::at_warp_op && a.op == b.op && a.mask == b.mask && a.site.line == b.site.line &&
         a.site.file == b.site.file;
}

// Gives each lane its result once all have arrived.
void complete_warp_op(Fiber* lanes, unsigned lane_count, const Fiber& self) {
  const unsigned mask = self.mask;
  unsigned ballot = 0, reduced = 0, newest = 0;
  bool first = true;
  for (unsigned lane = 0; lane < lane_count; ++lane) {
    if (!(mask >> lane & 1)) continue;
    if (lanes[lane].bits != 0) ballot |= 1u << lane;
    if (self.op == WarpOp::reduce) {
      reduced = first ? unsigned(lanes[lane].bits) : self.combine(reduced, unsigned(lanes[lane].bits));
      first = false;
    }
    newest = std::max(newest, lanes[lane].warp_interval);
  }
  for (unsigned lane = 0; lane < lane_count; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Fiber& fiber = lanes[lane];
    // PTX shfl: the warp falls into segments of `width` lanes; a source outside the own segment means the own value.
    const int width = fiber.width, segment = int(lane) & ~(width - 1), end = segment + width;
    int source = int(lane);
    switch (fiber.op) {
      case WarpOp::shuffle:
        source = segment + (fiber.argument & (width - 1));
        break;
      case WarpOp::shuffle_up:
        source = int(lane) - fiber.argument < segment ? int(lane) : int(lane) - fiber.argument;
        break;
      case WarpOp::shuffle_down:
        source = int(lane) + fiber.argument >= end ? int(lane) : int(lane) + fiber.argument;
        break;
      case WarpOp::shuffle_xor:
        source = (int(lane) ^ fiber.argument) >= end ? int(lane) : int(lane) ^ fiber.argument;
        break;
      case WarpOp::ballot:
        fiber.result = ballot;
        break;
      case WarpOp::all:
        fiber.result = ballot == mask;
        break;
      case WarpOp::any:
        fiber.result = ballot != 0;
        break;
      case WarpOp::reduce:
        fiber.result = reduced;
        break;
      case WarpOp::match:
        fiber.result = 0;
        for (unsigned other = 0; other < lane_count; ++other) {
          if ((mask >> other & 1) && lanes[other].bits == fiber.bits) fiber.result |= 1u << other;
        }
        break;
      case WarpOp::sync:
        break;
    }
    if (fiber.op <= WarpOp::shuffle_xor) {
      if (source < 0 || source >= int(warp_size) || source >= int(lane_count) || !(mask >> source & 1)) {
        const bool exists = source >= 0 && source < int(lane_count);
        report("shuffle from an inactive lane",
               std::string(text(fiber.op)) + " with mask " + hexadecimal(mask) + ": lane " + std::to_string(lane) +
                   " reads lane " + std::to_string(source) +
                   (exists ? ", which the mask does not name" : ", which the block does not have"),
               nullptr, fiber.site);
      }
      fiber.result = lanes[source].bits;
    }
  }
  for (unsigned lane = 0; lane < lane_count; ++lane) {
    if (!(mask >> lane & 1)) continue;
    lanes[lane].state = State::ready;
    if (self.op == WarpOp::sync) {  // __syncwarp orders memory, a shuffle does not
      lanes[lane].warp_interval = newest + 1;
    }
  }
  ++launching->warp_ops;
}

// Nobody can run and no barrier is complete: some lane waits for one that will not come.
void diagnose() {
  for (unsigned i = 0; i < thread_count; ++i) {
    const Fiber& fiber = fibers[i];
    if (fiber.state != State::at_warp_op) continue;
    const unsigned first = i / warp_size * warp_size;
    for (unsigned lane = 0; lane < warp_size && first + lane < thread_count; ++lane) {
      const Fiber& other = fibers[first + lane];
      if (!(fiber.mask >> lane & 1) || together(fiber, other)) continue;
      record("warp divergence",
             std::string(text(fiber.op)) + " with mask " + hexadecimal(fiber.mask) + " names lane " +
                 std::to_string(lane) + ", but thread " + thread_name(first + lane) + " " + doing(other),
             at(fiber.site), "block " + block_name(now.block) + ", thread " + thread_name(i));
      return;
    }
  }
  record("deadlock", "the threads of a block wait for each other", "", "block " + block_name(now.block));
}

void run_block(std::uint64_t number, const std::vector<unsigned>& order) {
  now.block = number;
  const Extent& grid = current->grid;
  const Extent& shape = current->block;
  blockIdx = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y), unsigned(number / grid.x / grid.y)};
  interval = waiting = 0;
  alive = thread_count;
  begin_block();
  for (unsigned i = 0; i < thread_count; ++i) {
    Fiber& fiber = fibers[i];
    fiber.number = i;
    fiber.index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    fiber.state = State::ready;
    fiber.warp_interval = 0;
    fiber.asked_who_is_active = false;
    // Tops of stacks a multiple of 4 KiB apart would share the same few cache sets.
    start_at(fiber.context, stack_of(i), stack_bytes - i % 32 * 128, &fiber_main);
  }
  new_positions(thread_count);
  while (alive > 0) {
    bool progress = false;
    for (const unsigned i : order) {
      if (fibers[i].state != State::ready) continue;
      resume(fibers[i]);
      progress = true;
      if (failed) return;
      if (fibers[i].state == State::exited) --alive;
    }
    if (waiting > 0 && waiting == alive) {
      complete_barrier();
    } else if (!progress) {
      diagnose();
      failed = true;
    }
    if (failed) return;
  }
}

std::string invalid(const Launch& launch) {
  const Extent &grid = launch.grid, &shape = launch.block;
  if (shape.count() == 0 || shape.count() > max_threads || shape.z > 64)
    return "block of " + coordinates(shape.x, shape.y, shape.z) + " threads";
  if (grid.count() == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return "grid of " + coordinates(grid.x, grid.y, grid.z) + " blocks";
  if (launch.dynamic_shared_bytes != 0) return "dynamic shared memory is not emulated";
  if (launch.argument_bytes > 32764)
    return std::to_string(launch.argument_bytes) + " bytes of arguments, of which 32,764 may be passed";
  return "";
}

}  // namespace

Position position() { return {now.block, running->number, interval, running->warp_interval}; }
std::string current_op() { return open_ops.empty() ? "" : open_ops.back().name; }
int multiprocessors() { return settings.multiprocessors; }
void* stream() { return reinterpret_cast<void*>(settings.stream); }
std::uint64_t capture() { return settings.capture; }
const char* last_fault_text() { return fault_text.c_str(); }

std::string thread_name(unsigned thread) {
  const Extent& shape = current->block;
  return coordinates(thread % shape.x, thread / shape.x % shape.y, thread / shape.x / shape.y);
}
std::string block_name(std::uint64_t number) {
  const Extent& grid = current->grid;
  return coordinates(unsigned(number % grid.x), unsigned(number / grid.x % grid.y), unsigned(number / grid.x / grid.y));
}

[[noreturn]] void report(const char* kind, const std::string& detail, const void* pc, Site site) {
  const std::string where = site.file != nullptr ? at(site) : source_line(pc);
  record(kind, detail, where, "block " + block_name(now.block) + ", thread " + thread_name(running->number));
  failed = true;
  to_scheduler(true);
  std::abort();
}

void report_at_host(const char* kind, const std::string& detail) { record(kind, detail, "", ""); }

int barrier(Vote vote, int predicate, Site site) {
  Fiber& self = *running;
  self.vote = vote;
  self.predicate = predicate;
  self.site = site;
  self.state = State::at_barrier;
  ++waiting;
  to_scheduler();
  return self.predicate;
}

std::uint64_t warp(WarpOp op, unsigned mask, std::uint64_t bits, int argument, int width, Site site,
                   unsigned (*combine)(unsigned, unsigned)) {
  Fiber& self = *running;
  const unsigned first = self.number / warp_size * warp_size, lane = self.number - first;
  const unsigned lane_count = std::min(warp_size, thread_count - first);
  if (!(mask >> lane & 1)) {
    report("warp divergence",
           std::string(text(op)) + ": lane " + std::to_string(lane) + " is not in its own mask " + hexadecimal(mask),
           nullptr, site);
  }
  if (self.asked_who_is_active && mask == 1u << lane && lane_count > 1) {
    report(
        "mask from __activemask",
        std::string(text(op)) + " with the mask of lanes that happen to run together: which these are CUDA leaves open",
        nullptr, site);
  }
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
    report("invalid shuffle",
           std::string(text(op)) + ": width " + std::to_string(width) + " is not a power of two up to 32", nullptr,
           site);
  }
  self.op = op;
  self.mask = mask;
  self.bits = bits;
  self.argument = argument;
  self.width = width;
  self.site = site;
  self.combine = combine;
  self.state = State::at_warp_op;
  bool complete = true;  // from the lane that in natural order comes last
  for (unsigned i = lane_count; i-- > 0 && complete;) complete = !(mask >> i & 1) || together(self, fibers[first + i]);
  if (complete) {
    complete_warp_op(fibers + first, lane_count, self);
  } else {
    to_scheduler();
  }
  if (op == WarpOp::sync) new_position();
  return self.result;
}

// The least that CUDA promises: the lane itself.
unsigned active_mask() {
  running->asked_who_is_active = true;
  return 1u << running->number % warp_size;
}

void fence() { fence_memory(); }

int launch(const Launch& launch) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  LaunchRecord record_;
  record_.op = current_op();
  record_.kernel = function_name(launch.kernel);
  record_.grid = launch.grid;
  record_.block = launch.block;
  record_.stream = launch.stream;
  record_.captured = settings.capture != 0 && launch.stream == stream();
  launching = &record_;
  current = &launch;
  if (const std::string what = invalid(launch); !what.empty()) {
    record("invalid launch", what, "", "");
    launching = nullptr;
    remember_error(invalid_configuration);
    return invalid_configuration;
  }
  allocate_stacks();
  scheduler_stack = own_stack();
  thread_count = unsigned(launch.block.count());
  blockDim = {launch.block.x, launch.block.y, launch.block.z};
  gridDim = {launch.grid.x, launch.grid.y, launch.grid.z};
  failed = false;
  begin_launch(launch);

  const std::uint64_t block_count = launch.grid.count();
  std::vector<unsigned> order(thread_count);
  std::iota(order.begin(), order.end(), 0u);
  std::mt19937_64 random(settings.seed);
  // Blocks start in any order: a seed steps through them by a stride coprime to their number.
  std::uint64_t stride = 1, start = 0;
  const bool ends_only = settings.ends != 0;
  if (settings.seed != 0 && block_count > 1) {
    do stride = random() % block_count;
    while (std::gcd(stride, block_count) != 1);
    start = random() % block_count;
  }
  for (std::uint64_t i = 0; i < block_count && !failed; ++i) {
    if (const auto ends = settings.ends; ends != 0 && i >= ends && i + ends < block_count) i = block_count - ends;
    if (settings.seed != 0) std::shuffle(order.begin(), order.end(), random);
    run_block(ends_only ? i : (start + static_cast<unsigned __int128>(i) * stride) % block_count, order);
  }
  if (failed) {
    for (unsigned i = 0; i < thread_count; ++i) clean(stack_of(i), stack_bytes);
  }
  end_launch();
  launching = nullptr;
  // A launch cut short leaves counts in the module's variables. On a card these would be gone with the context.
  if (failed || settings.ends != 0) {
    for (const std::uintptr_t word : record_.atomic_words) {
      if (is_variable(word)) std::memset(reinterpret_cast<void*>(word), 0, 4);
    }
  }
  launches.push_back(std::move(record_));
  if (failed) remember_error(launch_failure);
  return failed ? launch_failure : 0;
}

void record_host_operation(const char* name, std::size_t read_bytes, std::size_t written_bytes) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  LaunchRecord record_;
  record_.op = current_op();
  record_.kernel = name;
  record_.read_bytes = read_bytes;
  record_.written_bytes = written_bytes;
  launches.push_back(std::move(record_));
}

void reset() {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  launches.clear();
  faults.clear();
}

Op::Op(const char* name) {
  mutex.lock();
  open_ops.push_back({name, buffer_count(), faults.size()});
}

Op::~Op() {
  // After a fault or an exception the outputs are not expected to be complete.
  const bool complete = faults.size() == open_ops.back().faults && std::uncaught_exceptions() == 0;
  close_buffers(open_ops.back().buffers, complete);
  open_ops.pop_back();
  mutex.unlock();
}

}  // namespace ganops_emulation
