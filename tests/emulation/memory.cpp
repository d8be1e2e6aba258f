// What kernels do to memory: bounds, initialisation, races, bytes.
//
// Each access happens at a *position*: a (thread, barrier interval) of a block, numbered in the order of execution over
// all launches. Every granule of memory remembers the positions of its last write and of up to two reads since. Two
// accesses, one of them a write, conflict unless ordered: by a barrier between threads of a block, by __syncwarp within
// a warp, or, between blocks, by "fence, then atomic" on one side and "atomic on the same word, then fence" on the
// other. Threads run one at a time, so the earlier access always is on record, and one run in any order finds the
// conflict.
//
// Launches follow each other on one stream only. Of all memory the module's own variables alone outlive them without
// the allocator's knowing: each word of them belongs to one stream, and none to a captured launch, which a graph may
// repeat beside itself.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "runtime.h"

// The section with threadIdx and its kin, between symbols that the linker makes.
extern "C" __attribute__((visibility("hidden"))) const char __start_ganops_coordinates[], __stop_ganops_coordinates[];

namespace ganops_emulation {
namespace {

using std::size_t;
using std::uint32_t;
using std::uint64_t;
using std::uintptr_t;

// --- Positions ---

constexpr uint32_t atomic_flag = 0x80000000u;
std::vector<Position> positions;  // of the current launch
uint32_t first_position = 1;      // the number of positions[0]; smaller numbers are of earlier launches
uint32_t first_position_of_block = 1;
uint32_t position_of[1024];  // of each thread, 0: not numbered since its last synchronisation

struct Atomic {
  uintptr_t word;
  uint32_t at;
};
struct Published {               // what a block did towards the others
  std::vector<uint32_t> fences;  // the positions of its fences
  std::vector<Atomic> atomics;   // its atomics after a first fence
};
std::unordered_map<uint64_t, Published> published;  // by block
std::vector<Atomic> acquired;                       // the atomics of the current block

const Position& at(uint32_t number) { return positions[number - first_position]; }

uint32_t number_position() {
  uint32_t& number = position_of[thread_number()];
  if (number == 0) {
    positions.push_back(position());
    number = first_position + uint32_t(positions.size()) - 1;
  }
  return number;
}

bool ordered_in_block(uint32_t earlier, uint32_t later) {
  const Position &a = at(earlier), &b = at(later);
  if (a.thread == b.thread) return earlier <= later;
  if (a.interval != b.interval) return a.interval < b.interval;
  return a.thread / 32 == b.thread / 32 && a.warp_interval < b.warp_interval;
}

bool ordered(uint32_t earlier, uint32_t later, bool earlier_atomic, uintptr_t word) {
  if (at(earlier).block == at(later).block) return ordered_in_block(earlier, later);
  if (acquired.empty()) return false;
  const auto found = published.find(at(earlier).block), own = published.find(at(later).block);
  for (const Atomic& acquire : acquired) {
    if (!ordered_in_block(acquire.at, later)) continue;
    if (earlier_atomic && acquire.word == word) return true;
    if (found == published.end() || own == published.end()) continue;
    const auto& fences = own->second.fences;
    if (std::none_of(fences.begin(), fences.end(), [&](uint32_t fence) {
          return ordered_in_block(acquire.at, fence) && ordered_in_block(fence, later);
        })) {
      continue;
    }
    // The access, then a fence of its thread (or beyond a barrier), then (or beyond a barrier) the atomic.
    for (const Atomic& release : found->second.atomics) {
      if (release.word != acquire.word) continue;
      for (const uint32_t fence : found->second.fences) {
        if (earlier != fence && ordered_in_block(earlier, fence) && ordered_in_block(fence, release.at)) return true;
      }
    }
  }
  return false;
}

// --- Shadow memory: one cell per granule of 4 bytes, of 1 byte on pages where narrower accesses occur ---

struct Cell {
  uint32_t write = 0, read = 0, other_read = 0;  // positions; the flag marks an atomic write
  uint32_t read_only = 0;                        // of the last load through the read-only path
};

constexpr unsigned page_shift = 12;
constexpr size_t page_bytes = size_t(1) << page_shift;

struct Page {
  unsigned shift = 2;
  std::vector<Cell> cells = std::vector<Cell>(page_bytes >> 2);

  void refine() {
    std::vector<Cell> fine(page_bytes);
    for (size_t i = 0; i < page_bytes; ++i) fine[i] = cells[i >> 2];
    cells = std::move(fine);
    shift = 0;
  }
};

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
struct {
  uintptr_t number = ~uintptr_t(0);
  Page* page = nullptr;
} recent[64];
constexpr size_t most_pages = 24 << 10;  // 400 MB of shadow

Page& page_at(uintptr_t address) {
  const uintptr_t number = address >> page_shift;
  auto& slot = recent[number % 64];
  if (slot.number != number) {
    auto& page = pages[number];
    if (page == nullptr) page = std::make_unique<Page>();
    slot.number = number;
    slot.page = page.get();
  }
  return *slot.page;
}

void forget_pages() {
  pages.clear();
  for (auto& slot : recent) slot = {};
}

// --- Buffers ---

enum class Role { input, output, inout, scratch };

struct Buffer {
  uintptr_t begin, end;
  std::string name;
  Role role;
  std::vector<bool> written;  // by granule; of outputs and scratch only
  unsigned shift = 2;         // a byte count not divisible by 4 is tracked by the byte
};
std::vector<Buffer> buffers;
// Buffers in the order of their beginnings with the furthest end so far, to find those that contain an address.
std::vector<std::pair<uintptr_t, uint32_t>> by_begin;
std::vector<uintptr_t> furthest;
bool sorted = true;
uint32_t recent_buffer = 0;

void sort_buffers() {
  by_begin.clear();
  furthest.clear();
  for (uint32_t i = 0; i < buffers.size(); ++i) by_begin.emplace_back(buffers[i].begin, i);
  std::sort(by_begin.begin(), by_begin.end());
  uintptr_t end = 0;
  for (const auto& [begin, index] : by_begin) furthest.push_back(end = std::max(end, buffers[index].end));
  sorted = true;
}

bool holds(const Buffer& buffer, uintptr_t address, size_t bytes, Access kind) {
  return address >= buffer.begin && address + bytes <= buffer.end &&
         (kind == Access::read || buffer.role != Role::input);
}

Buffer* find_buffer(uintptr_t address, size_t bytes, Access kind) {
  if (!sorted) sort_buffers();
  if (recent_buffer < buffers.size() && holds(buffers[recent_buffer], address, bytes, kind))
    return &buffers[recent_buffer];
  auto i = std::upper_bound(by_begin.begin(), by_begin.end(), std::pair(address, ~uint32_t(0))) - by_begin.begin();
  while (i-- > 0 && furthest[size_t(i)] > address) {
    const uint32_t index = by_begin[size_t(i)].second;
    if (holds(buffers[index], address, bytes, kind)) {
      recent_buffer = index;
      return &buffers[index];
    }
  }
  return nullptr;
}

void add_buffer(const void* address, size_t bytes, const char* name, Role role) {
  if (bytes == 0) return;
  const auto begin = reinterpret_cast<uintptr_t>(address);
  Buffer buffer{begin, begin + bytes, name, role, {}, 2};
  if (role == Role::output || role == Role::scratch) {
    if (bytes % 4 != 0 || begin % 4 != 0) buffer.shift = 0;
    buffer.written.assign(bytes >> buffer.shift, false);
  }
  buffers.push_back(std::move(buffer));
  sorted = false;
}

void set_written(Buffer& buffer, uintptr_t address, size_t bytes) {
  if (buffer.written.empty()) return;
  if (buffer.shift == 2 && ((address | bytes) & 3) != 0) {
    std::vector<bool> fine(buffer.end - buffer.begin);
    for (size_t i = 0; i < fine.size(); ++i) fine[i] = buffer.written[i >> 2];
    buffer.written = std::move(fine);
    buffer.shift = 0;
  }
  const size_t first = (address - buffer.begin) >> buffer.shift, count = bytes >> buffer.shift;
  std::fill_n(buffer.written.begin() + std::ptrdiff_t(first), count, true);
}

std::string place(const Buffer& buffer, uintptr_t address) {
  return "`" + buffer.name + "` at byte " + std::to_string(address - buffer.begin) + " of " +
         std::to_string(buffer.end - buffer.begin);
}

std::string hexadecimal(uintptr_t address) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%zx", size_t(address));
  return text;
}

// "memory 0x… which lies 4 bytes behind `weight` (64 bytes)": the nearest buffer is the likeliest suspect.
std::string place(uintptr_t address) {
  const Buffer* nearest = nullptr;
  uintptr_t distance = 1 << 16;
  bool behind = false;
  for (const Buffer& buffer : buffers) {
    if (address >= buffer.begin && address < buffer.end) return place(buffer, address);
    const uintptr_t gap = address >= buffer.end ? address - buffer.end : buffer.begin - address;
    if (gap >= distance) continue;
    distance = gap;
    nearest = &buffer;
    behind = address >= buffer.end;
  }
  if (nearest == nullptr) return "address " + hexadecimal(address);
  return std::to_string(distance) + " bytes " + (behind ? "behind" : "before") + " `" + nearest->name + "` (" +
         std::to_string(nearest->end - nearest->begin) + " bytes)";
}

// --- Shared memory ---

Image image;
uintptr_t tls_begin = 0, tls_bytes = 0;
uintptr_t parameter_begin = 0, parameter_bytes = 0;
std::vector<bool> shared_touched;

const SharedVariable* shared_variable(uintptr_t offset) {
  const auto& variables = shared_variables();
  auto after = std::upper_bound(variables.begin(), variables.end(), offset,
                                [](uintptr_t o, const SharedVariable& v) { return o < v.offset; });
  if (after == variables.begin()) return nullptr;
  --after;
  return offset < after->offset + after->bytes ? &*after : nullptr;
}

std::string shared_place(uintptr_t address) {
  const SharedVariable* variable = shared_variable(address - tls_begin);
  if (variable == nullptr) return "shared memory outside any __shared__ variable";
  const auto colon = variable->name.rfind("::");
  return "__shared__ `" + (colon == std::string::npos ? variable->name : variable->name.substr(colon + 2)) +
         "` at byte " + std::to_string(address - tls_begin - variable->offset) + " of " +
         std::to_string(variable->bytes);
}

void touch_shared(uintptr_t address, const void* pc) {
  const auto& variables = shared_variables();
  const SharedVariable* variable = shared_variable(address - tls_begin);
  if (variable == nullptr) report("out of bounds", "access to " + shared_place(address), pc);
  const size_t index = size_t(variable - variables.data());
  if (shared_touched[index]) return;
  shared_touched[index] = true;
  launching->shared_bytes += variable->bytes;
}

// --- One access ---

struct Helper {  // the range an access helper has announced and that was counted then
  uintptr_t begin = 0, bytes = 0;
  unsigned thread = 0;
  uint64_t block = 0;
} announced_read, announced_write;

[[noreturn]] void race(const char* space, const std::string& where, uint32_t earlier, bool earlier_write, Access kind,
                       const void* pc) {
  const Position& other = at(earlier);
  const bool same_block = other.block == block_number();
  report(space,
         std::string(kind == Access::read    ? "read"
                     : kind == Access::write ? "write"
                                             : "atomic") +
             " of " + where + " conflicts with the " + (earlier_write ? "write" : "read") + " by thread " +
             thread_name(other.thread) +
             (same_block ? ", no barrier between them"
                         : " of block " + block_name(other.block) + ", nothing orders the blocks"),
         pc);
  __builtin_unreachable();
}

// Another lane of the warp read the same since its last synchronisation: taken for one instruction, whose lanes share
// one fetch.
bool shares_fetch(uint32_t read, uint32_t stale, uint32_t self) {
  if (read < stale || read == self) return false;
  const Position &a = at(read), &b = at(self);
  return a.block == b.block && a.interval == b.interval && a.thread / 32 == b.thread / 32 && a.thread != b.thread;
}

// Returns how many of the bytes read another lane's fetch has brought.
inline size_t access_cells(uintptr_t address, size_t bytes, Access kind, bool shared, const void* pc) {
  const uint32_t self = number_position();
  size_t fetched = 0;
  const uint32_t stale = shared ? first_position_of_block : first_position;
  while (bytes > 0) {
    Page& page = page_at(address);
    if (page.shift == 2 && ((address | bytes) & 3) != 0) page.refine();
    const size_t offset = address & (page_bytes - 1), here = std::min(bytes, page_bytes - offset);
    Cell* cell = page.cells.data() + (offset >> page.shift);
    const size_t count = here >> page.shift;
    for (size_t i = 0; i < count; ++i, ++cell) {
      const uint32_t write = cell->write & ~atomic_flag;
      const bool atomic = (cell->write & atomic_flag) != 0;
      const auto where = [&] {
        const uintptr_t spot = address + (i << page.shift);
        return shared ? shared_place(spot) : place(spot);
      };
      const char* space = shared ? "race on shared memory" : "race on global memory";
      if (write >= stale) {
        if (write != self && !(atomic && kind == Access::atomic) && !ordered(write, self, atomic, address)) {
          race(space, where(), write, true, kind, pc);
        }
      } else if (shared && instrumented()) {
        touch_shared(address + (i << page.shift), pc);
        if (kind != Access::write)
          report("uninitialised shared memory", "read of " + where() + ", which no thread of the block has written",
                 pc);
      }
      if (kind == Access::read) {
        if (!shared && (shares_fetch(cell->read, stale, self) || shares_fetch(cell->other_read, stale, self))) {
          fetched += size_t(1) << page.shift;
        }
        if (cell->read == self || cell->other_read == self) continue;
        if (cell->read < stale || ordered(cell->read, self, false, address))
          cell->read = self;
        else
          cell->other_read = self;
      } else {
        if (!shared && cell->read_only >= first_position) {
          report("write to read-only memory",
                 "write of " + where() + ", which thread " + thread_name(at(cell->read_only).thread) + " of block " +
                     block_name(at(cell->read_only).block) + " of the same launch reads through the read-only path",
                 pc);
        }
        for (const uint32_t read : {cell->read, cell->other_read}) {
          if (read >= stale && read != self && !ordered(read, self, false, address))
            race(space, where(), read, false, kind, pc);
        }
        cell->write = kind == Access::atomic ? self | atomic_flag : self;
        cell->read = cell->other_read = 0;
      }
    }
    address += here;
    bytes -= here;
  }
  return fetched;
}

// The stream that each word of the module's variables belongs to.
std::unordered_map<uintptr_t, const void*> owners;

void access_variable(uintptr_t address, Access kind, const void* pc) {
  const auto found = owners.find(address);
  if (launching->captured && kind != Access::read) {
    report("overlapping launches",
           "a captured launch writes to a variable of the module, as would the same launch of its graph's second "
           "executable",
           pc);
  }
  if (found != owners.end() && found->second != launching->stream) {
    report("overlapping launches", "launches on two streams share a variable of the module", pc);
  }
  if (kind != Access::read) owners[address] = launching->stream;
}

void access_global(uintptr_t address, size_t bytes, Access kind, const void* pc) {
  if (kind != Access::write) launching->requested_read_bytes += bytes;
  if (kind != Access::read) launching->written_bytes += bytes;
  if (is_variable(address)) {
    access_variable(address, kind, pc);
  } else if (!buffers.empty()) {
    Buffer* buffer = find_buffer(address, bytes, kind);
    if (buffer == nullptr) {
      const bool input = kind != Access::read && find_buffer(address, bytes, Access::read) != nullptr;
      report(input ? "write to an input" : "out of bounds",
             std::string(kind == Access::read ? "read" : "write") + " of " + std::to_string(bytes) + " bytes, " +
                 place(address),
             pc);
    } else if (!buffer->written.empty()) {
      if (kind == Access::write) {
        set_written(*buffer, address, bytes);
      } else if (instrumented() && settings.ends == 0) {
        const size_t first = (address - buffer->begin) >> buffer->shift;
        const size_t count = std::max<size_t>(bytes >> buffer->shift, 1);
        for (size_t i = first; i < first + count; ++i) {
          if (!buffer->written[i])
            report("uninitialised global memory", "read of " + place(*buffer, address) + ", which nothing has written",
                   pc);
        }
      }
    }
  }
  const size_t fetched = access_cells(address, bytes, kind, false, pc);
  if (kind != Access::write) launching->read_bytes += bytes - fetched;
}

void announce(const void* pointer, size_t bytes, Access kind, const void* pc) {
  if (!on_fiber()) return;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const size_t alignment = (bytes & (bytes - 1)) == 0 && bytes <= 16 ? bytes : 16;
  if (address % alignment != 0) {
    report("misaligned access",
           std::string(kind == Access::read ? "read" : "write") + " of " + std::to_string(bytes) + " bytes at " +
               (on_stack(pointer) ? "local memory" : place(address)) + ", not a multiple of " +
               std::to_string(alignment),
           pc);
  }
  (kind == Access::read ? announced_read : announced_write) = {};
  if (!on_stack(pointer) && address - tls_begin >= tls_bytes) {
    (kind == Access::read ? launching->vector_read_bytes : launching->vector_written_bytes) += bytes;
  }
  access(pointer, bytes, kind, pc);
  (kind == Access::read ? announced_read : announced_write) = {address, bytes, thread_number(), block_number()};
}

}  // namespace

bool is_variable(uintptr_t address) {
  for (const auto& [begin, end] : image.writable) {
    if (address >= begin && address < end) return true;
  }
  return false;
}

bool instrumented() {
#ifdef GANOPS_INSTRUMENTED
  return true;
#else
  return false;
#endif
}

void access(const void* pointer, size_t bytes, Access kind, const void* pc) {
  if (!on_fiber() || on_stack(pointer)) return;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (address - tls_begin < tls_bytes) {
    if (kind != Access::write) launching->shared_read_bytes += bytes;
    if (kind != Access::read) launching->shared_written_bytes += bytes;
    access_cells(address, bytes, kind, true, pc);
    return;
  }
  if (address - parameter_begin < parameter_bytes) return;
  const auto coordinates = reinterpret_cast<uintptr_t>(__start_ganops_coordinates);
  if (address - coordinates < size_t(__stop_ganops_coordinates - __start_ganops_coordinates)) return;
  for (const auto& [begin, end] : image.constant) {
    if (address >= begin && address < end && kind == Access::read) return;
  }
  const Helper& helper = kind == Access::read ? announced_read : announced_write;
  if (kind != Access::atomic && address - helper.begin < helper.bytes &&
      address + bytes <= helper.begin + helper.bytes && helper.thread == thread_number() &&
      helper.block == block_number()) {
    return;
  }
  access_global(address, bytes, kind, pc);
}

void on_read(const void* address, size_t bytes) { announce(address, bytes, Access::read, __builtin_return_address(0)); }
void on_write(const void* address, size_t bytes) {
  announce(address, bytes, Access::write, __builtin_return_address(0));
}

void on_read_only(const void* pointer, size_t bytes, Site site) {
  if (!on_fiber() || on_stack(pointer)) return;
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  const uint32_t self = number_position();
  for (uintptr_t address = begin; address < begin + bytes; ++address) {
    Page& page = page_at(address);
    Cell& cell = page.cells[(address & (page_bytes - 1)) >> page.shift];
    if ((cell.write & ~atomic_flag) >= first_position) {
      report("write to read-only memory",
             "read through the read-only path of " + place(address) + ", which the same launch has written",
             __builtin_return_address(0), site);
    }
    cell.read_only = self;
  }
}

void on_atomic(const void* address, size_t bytes) {
  if (!on_fiber()) return;
  ++launching->atomics;
  access(address, bytes, Access::atomic, __builtin_return_address(0));
  const auto word = reinterpret_cast<uintptr_t>(address);
  auto& words = launching->atomic_words;
  if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  new_position();
  const Atomic atomic{word, number_position()};
  acquired.push_back(atomic);
  const auto found = published.find(block_number());
  if (found != published.end()) found->second.atomics.push_back(atomic);
}

// The fence has a position of its own, after all that it publishes and before all that it does not.
void fence_memory() {
  new_position();
  published[block_number()].fences.push_back(number_position());
  new_position();
}

void new_position() {
  position_of[thread_number()] = 0;
  announced_read = announced_write = {};
}
void new_positions(unsigned threads) {
  std::memset(position_of, 0, threads * sizeof *position_of);
  announced_read = announced_write = {};
}

void begin_launch(const Launch& launch) {
  image = locate_image();
  tls_begin = image.tls_begin;
  tls_bytes = image.tls_bytes;
  parameter_begin = reinterpret_cast<uintptr_t>(launch.parameters);
  parameter_bytes = launch.parameter_bytes;
  shared_touched.assign(shared_variables().size(), false);
  if (pages.size() > most_pages || first_position > 0x60000000u) {
    forget_pages();
    first_position = 1;
  }
  positions.clear();
  published.clear();
}

void begin_block() {
  first_position_of_block = first_position + uint32_t(positions.size());
  acquired.clear();
  announced_read = announced_write = {};
  for (const SharedVariable& variable : shared_variables()) {
    std::memset(reinterpret_cast<void*>(tls_begin + variable.offset), 0xff, variable.bytes);
  }
}

void end_launch() { first_position += uint32_t(positions.size()); }

size_t buffer_count() { return buffers.size(); }

void close_buffers(size_t first, bool complete) {
  for (size_t i = first; i < buffers.size() && complete && instrumented() && settings.ends == 0; ++i) {
    const Buffer& buffer = buffers[i];
    if (buffer.role != Role::output) continue;
    const auto missing = std::find(buffer.written.begin(), buffer.written.end(), false);
    if (missing == buffer.written.end()) continue;
    const auto count = std::count(missing, buffer.written.end(), false);
    report_at_host("unwritten output",
                   "nothing has written " +
                       place(buffer, buffer.begin + (uintptr_t(missing - buffer.written.begin()) << buffer.shift)) +
                       ", in all " + std::to_string(count << buffer.shift) + " bytes");
  }
  buffers.resize(first);
  sorted = false;
  recent_buffer = 0;
}

void register_input(const void* address, size_t bytes, const char* name) {
  add_buffer(address, bytes, name, Role::input);
}
void register_output(const void* address, size_t bytes, const char* name) {
  add_buffer(address, bytes, name, Role::output);
}
void register_inout(const void* address, size_t bytes, const char* name) {
  add_buffer(address, bytes, name, Role::inout);
}
void register_scratch(const void* address, size_t bytes, const char* name) {
  add_buffer(address, bytes, name, Role::scratch);
}

void mark_written(const void* address, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  if (Buffer* buffer = bytes == 0 ? nullptr : find_buffer(begin, bytes, Access::write))
    set_written(*buffer, begin, bytes);
}

}  // namespace ganops_emulation
