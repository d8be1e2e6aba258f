// Clipping on the GPU: all tensors in one launch.
//
// The addresses and lengths travel as a kernel parameter, so that nothing is copied to the card first. The tensors'
// tiles are numbered through; a block finds the tensor of its tile by bisection.
#include "../math/clip_weights.h"

#include "../kernels/clip_weights.h"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// A longer list takes several launches. The larger table is under the 32,764 bytes that a launch may pass.
constexpr int few = 64, many = 1024;

template <class T, int capacity>
struct Table {
  T* data[capacity];
  int64_t count[capacity];
  int end[capacity];  // tiles up to and with this tensor
  int tensors;
};

constexpr int together = 4;  // vectors that a thread loads at once

template <class T, int capacity>
__global__ void GANOPS_BOUNDS(4) clip_kernel(const __grid_constant__ Table<T, capacity> table,
                                             const Accumulate<T> lowest, const Accumulate<T> highest) {
  using A = Accumulate<T>;
  const int tile = blockIdx.x;
  int low = 0, high = table.tensors - 1;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (tile < table.end[middle]) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  T* data = table.data[low];
  const int64_t begin = int64_t(tile - (low > 0 ? table.end[low - 1] : 0)) * tile_size<T, together>;
  const auto at = [&](T x) { return narrow<T>(clip(A(widen(x)), lowest, highest)); };
  visit_tile<T, together>(
      begin, table.count[low], reinterpret_cast<uintptr_t>(data) % 16 == 0,
      [&](int64_t i, bool inside) { return load(data + i, inside); },
      [&](int64_t i, Vector<T>& x) {
#pragma unroll
        for (int j = 0; j < x.width; ++j) x.at[j] = at(x.at[j]);
        store(data + i, x);
      },
      [&](int64_t i) { data[i] = at(data[i]); });
}

template <class T, int capacity>
void clip_some(Stream stream, void* const* data, const int64_t* count, int64_t tensors, double lowest, double highest) {
  // Tiles are numbered in an int: a tensor past that many elements is clipped in parts.
  constexpr int64_t most = max_blocks / 2 * tile_size<T, together>;
  Table<T, capacity> table;
  table.tensors = 0;
  int64_t tiles = 0;
  const auto flush = [&] {
    if (table.tensors > 0) {
      launch(clip_kernel<T, capacity>, tiles, block_size, stream, table, static_cast<Accumulate<T>>(lowest),
             static_cast<Accumulate<T>>(highest));
    }
    table.tensors = 0;
    tiles = 0;
  };
  for (int64_t t = 0; t < tensors; ++t) {
    for (int64_t done = 0; done < count[t];) {
      const int64_t part = smaller(count[t] - done, most), more = divide_up(part, tile_size<T, together>);
      if (table.tensors == capacity || tiles + more > max_blocks) flush();
      table.data[table.tensors] = static_cast<T*>(data[t]) + done;
      table.count[table.tensors] = part;
      tiles += more;
      table.end[table.tensors++] = static_cast<int>(tiles);
      done += part;
    }
  }
  flush();
}

void clip_all(Stream stream, DType dtype, void* const* data, const int64_t* count, int64_t tensors, double lowest,
              double highest) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    if (tensors <= few) {
      clip_some<T, few>(stream, data, count, tensors, lowest, highest);
    } else {
      clip_some<T, many>(stream, data, count, tensors, lowest, highest);
    }
  });
}

}  // namespace

extern const ClipWeightsKernels clip_weights{clip_all};

}  // namespace ganops::cuda
