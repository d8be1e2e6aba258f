// Feature matching on the GPU: all pairs in one launch for the value and one for the gradient.
//
// As in clipping, the addresses and lengths travel as a kernel parameter, which a CUDA graph records with the launch.
// The pairs' tiles are numbered through, and a block finds the pair of its tile by bisection. `value` takes as many
// blocks as the card holds at once, which stride over the tiles; each tile leaves a partial sum, and the block that
// finishes last adds them up, a warp for each pair, in a fixed order. `first` takes a block for each tile.
//
// A thread holds four vectors of a tile from each side, all loaded before the first is used. The signs of their
// elements are one word, at the thread's place in the tile.
#include "../kernels/feature_matching.h"

#include <type_traits>

#include "reduce.cuh"
#include "ticket.cuh"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// A longer list takes several launches. The larger table is under the 32,764 bytes that a launch may pass.
constexpr int few = 64, many = 512;

template <class T, int capacity>
struct Table {
  const T *real[capacity], *fake[capacity];
  T *real_out[capacity], *fake_out[capacity];
  int64_t count[capacity];
  int end[capacity];  // tiles up to and with this pair
  int pairs;
};

constexpr int together = 4;  // vectors that a thread loads at once from each side

// Two bits for each element of a thread.
template <class T>
struct SignWord {
  using type = uint32_t;
};
template <>
struct SignWord<double> {
  using type = uint16_t;
};
template <>
struct SignWord<Half> {
  using type = uint64_t;
};
template <>
struct SignWord<BFloat16> {
  using type = uint64_t;
};
template <class T>
using Signs = typename SignWord<T>::type;

template <class T>
constexpr bool signs_fit =
    sizeof(Signs<T>) * 8 == 2 * together * Vector<T>::width && tile_size<T, together> * sizeof(T) == 16384;
static_assert(signs_fit<float> && signs_fit<double> && signs_fit<Half> && signs_fit<BFloat16>);

// The vectors of this thread in a tile.
template <class T>
struct Tile {
  Vector<T> vector[together];
};

template <class T>
__device__ __forceinline__ int64_t first_element(int64_t begin, int v) {
  return begin + (int64_t(v) * block_size + threadIdx.x) * Vector<T>::width;
}

template <class T>
__device__ __forceinline__ bool is_aligned(const T* data) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

template <class T>
__device__ __forceinline__ Tile<T> load_vectors(const T* data, int64_t begin, int64_t count) {
  Tile<T> tile;
#pragma unroll
  for (int v = 0; v < together; ++v) {
    const int64_t i = first_element<T>(begin, v);
    tile.vector[v] = load_input(data + i, is_aligned(data) && i + Vector<T>::width <= count);
  }
  return tile;
}

// Loads what is no whole vector.
template <class T>
__device__ __forceinline__ void load_rest(const T* data, int64_t begin, int64_t count, Tile<T>& tile) {
#pragma unroll
  for (int v = 0; v < together; ++v) {
    const int64_t i = first_element<T>(begin, v);
    if (is_aligned(data) && i + Vector<T>::width <= count) continue;
#pragma unroll
    for (int j = 0; j < Vector<T>::width; ++j) {
      if (i + j < count) tile.vector[v].at[j] = data[i + j];
    }
  }
}

// Both sides of a tile, zeros past the end. The loads of both are issued before anything waits for one.
template <class T>
__device__ __forceinline__ void load_tiles(const T* real_data, const T* fake_data, int64_t begin, int64_t count,
                                           Tile<T>& real, Tile<T>& fake) {
  real = load_vectors(real_data, begin, count);
  fake = load_vectors(fake_data, begin, count);
  if (begin + tile_size<T, together> <= count && is_aligned(real_data) && is_aligned(fake_data)) return;
  load_rest(real_data, begin, count, real);
  load_rest(fake_data, begin, count, fake);
}

template <class T>
__device__ __forceinline__ void store_tile(T* data, int64_t begin, int64_t count, const Tile<T>& tile) {
  constexpr int width = Vector<T>::width;
  const bool vectors = is_aligned(data);
#pragma unroll
  for (int v = 0; v < together; ++v) {
    const int64_t i = first_element<T>(begin, v);
    if (vectors && i + width <= count) {
      store(data + i, tile.vector[v]);
    } else {
#pragma unroll
      for (int j = 0; j < width; ++j) {
        if (i + j < count) data[i + j] = tile.vector[v].at[j];
      }
    }
  }
}

template <class T, int capacity>
__device__ __forceinline__ int pair_of(const Table<T, capacity>& table, int tile) {
  int low = 0, high = table.pairs - 1;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (tile < table.end[middle]) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

template <class T, int capacity>
__device__ __forceinline__ int first_tile(const Table<T, capacity>& table, int pair) {
  return pair > 0 ? table.end[pair - 1] : 0;
}

// What the blocks of a value hand over. `partial` has two numbers a tile, `values` one a pair of all launches.
template <class T>
struct Totals {
  double *partial, *values;
  Accumulate<T>* scales;
  void *out, *counter;
  int64_t before, pairs;  // pairs of the launches before this one, and of all
  ScaleReduction reduction;
  bool normalize, wide, last;
};

template <class T>
__device__ __forceinline__ void put(void* out, int64_t place, double value, bool wide) {
  using A = Accumulate<T>;
  if (wide) {
    static_cast<A*>(out)[place] = static_cast<A>(value);
  } else {
    static_cast<T*>(out)[place] = narrow<T>(static_cast<A>(value));
  }
}

template <class T, bool l1, int capacity>
__global__ void GANOPS_BOUNDS(2) value_kernel(const __grid_constant__ Table<T, capacity> table, Signs<T>* signs,
                                              const Totals<T> totals, const Ticket ticket) {
  using A = Accumulate<T>;
  const int tiles = table.end[table.pairs - 1];
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int pair = pair_of(table, tile);
    const int64_t begin = int64_t(tile - first_tile(table, pair)) * tile_size<T, together>, count = table.count[pair];
    Tile<T> real, fake;
    load_tiles(table.real[pair], table.fake[pair], begin, count, real, fake);
    A sum = 0, norm = 0;
    Signs<T> word = 0;
#pragma unroll
    for (int v = 0; v < together; ++v) {
#pragma unroll
      for (int j = 0; j < Vector<T>::width; ++j) {
        const A x = widen(real.vector[v].at[j]), d = x - A(widen(fake.vector[v].at[j]));
        sum += distance<l1>(d);
        norm += absolute(x);
        if constexpr (l1) word |= Signs<T>(sign_code(d)) << (2 * (v * Vector<T>::width + j));
      }
    }
    if (l1 && signs != nullptr) signs[int64_t(tile) * block_size + threadIdx.x] = word;
    const A whole = block_sum(sum);
    if (threadIdx.x == 0) totals.partial[2 * int64_t(tile)] = whole;
    if (totals.normalize) {
      const A whole_norm = block_sum(norm);
      if (threadIdx.x == 0) totals.partial[2 * int64_t(tile) + 1] = whole_norm;
    }
  }
  if (!last_block(ticket.counter(totals.counter))) return;
  const int lane = threadIdx.x % warp_size;
  for (int pair = threadIdx.x / warp_size; pair < table.pairs; pair += block_size / warp_size) {
    double sum = 0, norm = 0;
    for (int tile = first_tile(table, pair) + lane; tile < table.end[pair]; tile += warp_size) {
      sum += totals.partial[2 * int64_t(tile)];
      if (totals.normalize) norm += totals.partial[2 * int64_t(tile) + 1];
    }
    sum = warp_sum(sum);
    norm = warp_sum(norm);
    if (lane == 0) {
      const int64_t place = totals.before + pair;
      double value = sum / table.count[pair];
      if (totals.normalize) {
        const double scale = norm / table.count[pair];
        totals.scales[place] = static_cast<A>(scale);
        value /= scale;
      }
      totals.values[place] = value;
      if (totals.reduction == ScaleReduction::none) put<T>(totals.out, place, value, totals.wide);
    }
  }
  if (totals.reduction == ScaleReduction::none || !totals.last) return;
  __syncthreads();
  double mine = 0;
  for (int64_t k = threadIdx.x; k < totals.pairs; k += block_size) mine += totals.values[k];
  const double loss = block_sum(mine);
  if (threadIdx.x == 0) {
    put<T>(totals.out, 0, totals.reduction == ScaleReduction::mean ? loss / totals.pairs : loss, totals.wide);
  }
}

// The upstream gradient, and what it is divided by in the order of autograd's formula.
template <class T>
struct Slope {
  const void* gradient;
  const Accumulate<T>* scales;  // null where there are none
  int64_t before, pairs;
  ScaleReduction reduction;
  bool wide;

  __device__ __forceinline__ Accumulate<T> at(int pair, int64_t count) const {
    using A = Accumulate<T>;
    const int64_t place = reduction == ScaleReduction::none ? before + pair : 0;
    A slope = wide ? static_cast<const A*>(gradient)[place] : A(widen(static_cast<const T*>(gradient)[place]));
    if (reduction == ScaleReduction::mean) slope = slope / A(pairs);
    if (scales != nullptr) slope = slope / scales[before + pair];
    return slope / A(count);
  }
};

template <class T, bool l1, int capacity>
__global__ void GANOPS_BOUNDS(2)
    first_kernel(const __grid_constant__ Table<T, capacity> table, const Signs<T>* signs, const Slope<T> upstream) {
  using A = Accumulate<T>;
  const int tile = blockIdx.x, pair = pair_of(table, tile);
  const int64_t begin = int64_t(tile - first_tile(table, pair)) * tile_size<T, together>, count = table.count[pair];
  Tile<T> real{}, fake{};
  Signs<T> word = 0;
  if constexpr (l1) {
    word = signs[int64_t(tile) * block_size + threadIdx.x];
  } else {
    load_tiles(table.real[pair], table.fake[pair], begin, count, real, fake);
  }
  const A slope = upstream.at(pair, count);
#pragma unroll
  for (int v = 0; v < together; ++v) {
#pragma unroll
    for (int j = 0; j < Vector<T>::width; ++j) {
      A y;
      if constexpr (l1) {
        y = times_sign(slope, static_cast<uint32_t>(word >> (2 * (v * Vector<T>::width + j))) & 3u);
      } else {
        y = slope * (A(2) * (A(widen(real.vector[v].at[j])) - A(widen(fake.vector[v].at[j]))));
      }
      real.vector[v].at[j] = narrow<T>(y);
      fake.vector[v].at[j] = narrow<T>(-y);
    }
  }
  if (table.real_out[pair] != nullptr) store_tile(table.real_out[pair], begin, count, real);
  if (table.fake_out[pair] != nullptr) store_tile(table.fake_out[pair], begin, count, fake);
}

// Fills tables and calls flush(table, tiles, signs of its first tile, pairs before it, whether it is the last). A
// pair's tiles are in one launch: a list of more than 2³¹ tiles, 32 TB, is refused.
template <class T, int capacity, class Flush>
void for_tables(const FeaturePair* pairs, int64_t count, const Flush& flush) {
  Table<T, capacity> table;
  for (int64_t begin = 0; begin < count; begin += capacity) {
    table.pairs = static_cast<int>(smaller(capacity, count - begin));
    int64_t tiles = 0;
    for (int k = 0; k < table.pairs; ++k) {
      const FeaturePair& pair = pairs[begin + k];
      table.real[k] = static_cast<const T*>(pair.real);
      table.fake[k] = static_cast<const T*>(pair.fake);
      table.real_out[k] = static_cast<T*>(pair.real_out);
      table.fake_out[k] = static_cast<T*>(pair.fake_out);
      table.count[k] = pair.count;
      tiles += divide_up(pair.count, tile_size<T, together>);
      if (tiles > max_blocks) throw std::runtime_error("ganops: these features are too large for one launch");
      table.end[k] = static_cast<int>(tiles);
    }
    flush(table, tiles, static_cast<Signs<T>*>(pairs[begin].signs), begin, begin + table.pairs == count);
  }
}

template <class F>
void with_choice(DType dtype, Distance distance, int64_t pairs, const F& f) {
  with_type(dtype, [&](auto type) {
    const auto with_distance = [&](auto l1) {
      if (pairs <= few) {
        f(type, l1, std::integral_constant<int, few>());
      } else {
        f(type, l1, std::integral_constant<int, many>());
      }
    };
    distance == Distance::l1 ? with_distance(std::true_type()) : with_distance(std::false_type());
  });
}

// A count for who has no ticket, a value for each pair, and two numbers for each tile.
int64_t workspace(DType dtype, const FeaturePair* pairs, int64_t count) {
  int64_t numbers = 1 + count;
  with_type(dtype, [&](auto type) {
    for (int64_t k = 0; k < count; ++k) numbers += 2 * divide_up(pairs[k].count, tile_size<decltype(type), together>);
  });
  return numbers * sizeof(double);
}

void value(Stream stream, DType dtype, const FeaturePair* pairs, int64_t count, const FeatureMatching& setting,
           void* out, void* scales, void* workspace) {
  with_choice(dtype, setting.distance, count, [&](auto type, auto l1, auto capacity) {
    using T = decltype(type);
    for_tables<T, capacity()>(pairs, count,
                              [&](const auto& table, int64_t tiles, Signs<T>* signs, int64_t before, bool last) {
                                Totals<T> totals;
                                totals.counter = workspace;
                                totals.values = static_cast<double*>(workspace) + 1;
                                totals.partial = totals.values + count;
                                totals.scales = static_cast<Accumulate<T>*>(scales);
                                totals.out = out;
                                totals.before = before;
                                totals.pairs = count;
                                totals.reduction = setting.reduction;
                                totals.normalize = setting.normalize;
                                totals.wide = setting.wide;
                                totals.last = last;
                                const int64_t blocks = smaller(tiles, resident_blocks());
                                launch(value_kernel<T, l1(), capacity()>, blocks > 0 ? blocks : 1, block_size, stream,
                                       table, signs, totals, draw_ticket(stream, workspace));
                              });
  });
}

void first(Stream stream, DType dtype, const FeaturePair* pairs, int64_t count, const FeatureMatching& setting,
           const void* gradient, const void* scales) {
  with_choice(dtype, setting.distance, count, [&](auto type, auto l1, auto capacity) {
    using T = decltype(type);
    for_tables<T, capacity()>(
        pairs, count, [&](const auto& table, int64_t tiles, const Signs<T>* signs, int64_t before, bool) {
          if (tiles == 0) return;
          const Slope<T> slope{gradient,    static_cast<const Accumulate<T>*>(scales), before, count, setting.reduction,
                               setting.wide};
          launch(first_kernel<T, l1(), capacity()>, tiles, block_size, stream, table, signs, slope);
        });
  });
}

}  // namespace

extern const FeatureMatchingKernels feature_matching{workspace, value, first};

}  // namespace ganops::cuda
