// Where the blocks of a launch count themselves, so that the last one can finish the work of all.
//
// The words lie in the module's own memory, zero from the start; the last block's count wraps to zero again
// (last_block() in reduce.cuh), so no launch clears anything. Two launches may share a word if one ends before the
// other begins. Hence a word for each
//   - stream: its launches follow each other. By the stream's number, which is never given twice, where handles are.
//   - stream within a capture: replays of a graph follow each other, but they may run beside whatever the captured
//     stream does by then, and beside other graphs.
// A word keeps its owner as long as the process lives, for nobody says when a graph is gone. Once all are given away,
// launches count in memory that is cleared for them. A kernel that dies halfway takes the context, and these words,
// with it.
#pragma once

#include <map>
#include <mutex>
#include <utility>

#include "launch.cuh"

namespace ganops::cuda {

constexpr int tickets = 4096;

namespace {
__device__ unsigned finished_blocks[tickets];
}

struct Ticket {
  int word;  // −1: none is left

  __device__ __forceinline__ unsigned* counter(void* cleared) const {
    return word < 0 ? static_cast<unsigned*>(cleared) : finished_blocks + word;
  }
};

// The word for the next launch on a stream; `workspace` is where the launch counts if there is none. Devices have a
// module each, so that they may be given the same numbers.
inline Ticket draw_ticket(Stream stream, void* workspace) {
  unsigned long long id = 0, capture = 0;
  if (stream != nullptr) {  // the default stream cannot be captured
    const auto handle = static_cast<cudaStream_t>(stream);
    cudaStreamCaptureStatus status;
    check(cudaStreamGetCaptureInfo(handle, &status, &capture), "cudaStreamGetCaptureInfo");
    if (status != cudaStreamCaptureStatusActive) capture = 0;
    check(cudaStreamGetId(handle, &id), "cudaStreamGetId");
    ++id;
  }
  static std::mutex mutex;
  static auto& given = *new std::map<std::pair<unsigned long long, unsigned long long>, int>;
  {
    const std::lock_guard lock(mutex);
    if (const auto found = given.find({id, capture}); found != given.end()) return {found->second};
    if (const int next = static_cast<int>(given.size()); next < tickets) {
      given[{id, capture}] = next;
      return {next};
    }
  }
  check(cudaMemsetAsync(workspace, 0, sizeof(unsigned), static_cast<cudaStream_t>(stream)), "cudaMemsetAsync");
  return {-1};
}

}  // namespace ganops::cuda
