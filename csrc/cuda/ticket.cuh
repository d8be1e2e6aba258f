// Where the blocks of a launch count themselves, so that the last one can finish the work of all.
//
// The words lie in the module's own memory, zero from the start; the last block's count wraps to zero again
// (last_block() in reduce.cuh), so no launch clears anything. Two launches may share a word if one ends before the
// other begins. Hence a word for each stream, whose launches follow each other, by the stream's number, which is never
// given twice, where handles are. It keeps its owner as long as the process lives.
//
// A captured launch is one of a graph, which may be instantiated twice and replayed beside anything: no word is its
// own. It counts in its workspace, cleared by the graph itself at each replay. So do streams past the last word.
#pragma once

#include <map>
#include <mutex>

#include "launch.cuh"

namespace ganops::cuda {

constexpr int tickets = 4096;

namespace {
__device__ unsigned finished_blocks[tickets];
}

struct Ticket {
  int word = -1;  // −1: none

  __device__ __forceinline__ unsigned* counter(void* cleared) const {
    return word < 0 ? static_cast<unsigned*>(cleared) : finished_blocks + word;
  }
};

// The word for the next launch on a stream; `workspace` is where the launch counts if there is none. Devices have a
// module each, so that they may be given the same numbers.
inline Ticket draw_ticket(Stream stream, void* workspace) {
  const auto handle = static_cast<cudaStream_t>(stream);
  unsigned long long id = 0;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (handle != nullptr) {  // the default stream cannot be captured
    check(cudaStreamGetCaptureInfo(handle, &status), "cudaStreamGetCaptureInfo");
    check(cudaStreamGetId(handle, &id), "cudaStreamGetId");
    ++id;
  }
  if (status == cudaStreamCaptureStatusNone) {
    static std::mutex mutex;
    static auto& given = *new std::map<unsigned long long, int>;
    const std::lock_guard lock(mutex);
    const int next = static_cast<int>(given.size());
    const auto found = next < tickets ? given.try_emplace(id, next).first : given.find(id);
    if (found != given.end()) return {found->second};
  }
  check(cudaMemsetAsync(workspace, 0, sizeof(unsigned), handle), "cudaMemsetAsync");
  return {};
}

}  // namespace ganops::cuda
