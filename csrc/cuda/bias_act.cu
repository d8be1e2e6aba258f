// bias_act on the GPU. Without a sum over channels: one pass, a warp per piece of the tensor (samples.cuh).
//
// With the sum, where channels' elements lie in stretches of many vectors: the same, a sample being all elements of a
// channel, and one launch. Where channels lie side by side or in short stretches, a block takes columns of the matrix
// (outer, channels · inner), a thread a vector of them, and goes down the rows, so that a column's sum stays in its
// thread; a second, small launch adds the blocks' sums. Rows that are short or no multiple of a vector are joined.
#include "../math/bias_act.h"

#include "../kernels/bias_act.h"
#include "samples.cuh"

namespace ganops::cuda {
namespace {

enum class Order { value, first, second };

// Vectors of each tensor that a lane loads at once, and elements from which on a stretch is long.
template <Order order>
constexpr int together = order == Order::value ? 4 : 2;
constexpr int64_t long_stretch = 128;

// What a pass reads and writes; null is what it does not. `main` is x, or the gradient.
template <class T, Order order>
struct Pass {
  using A = Accumulate<T>;
  static constexpr int width = Vector<T>::width;

  Gained<T> numbers;
  Activation activation;
  bool wide;
  int64_t outer, channels, inner;
  const T *main, *reference, *tangent;
  const void *b, *tangent_b;
  T *out, *other;

  Pass(const BiasAct& how, const void* main, const void* b, void* out)
      : numbers(how),
        activation(how.activation),
        wide(how.wide),
        outer(how.shape.outer),
        channels(how.shape.channels),
        inner(how.shape.inner),
        main(static_cast<const T*>(main)),
        reference(nullptr),
        tangent(nullptr),
        b(b),
        tangent_b(nullptr),
        out(static_cast<T*>(out)),
        other(nullptr) {}

  bool aligned() const { return cuda::aligned(main, reference, tangent, out, other); }
  __host__ __device__ int64_t count() const { return outer * channels * inner; }

  struct Loaded {
    Vector<T> main, reference, tangent;
    int64_t at;
  };
  __device__ __forceinline__ Loaded load(int64_t at, bool inside) const {
    Loaded x;
    x.at = at;
    x.main = load_input(main + at, inside && main);
    if constexpr (order != Order::value) x.reference = load_input(reference + at, inside && reference);
    if constexpr (order == Order::second) x.tangent = load_input(tangent + at, inside && tangent);
    return x;
  }
  __device__ __forceinline__ T at_or_zero(const T* tensor, int64_t i) const {
    return tensor ? tensor[i] : narrow<T>(A(0));
  }

  __device__ __forceinline__ A number(const void* of, int64_t channel) const {
    if (!of) return 0;
    return wide ? static_cast<const A*>(of)[channel] : A(widen(static_cast<const T*>(of)[channel]));
  }

  // One element; its channel's numbers are b and c. Returns what is summed.
  template <class F>
  __device__ __forceinline__ A element(F f, T x, T r, T t, A b, A c, T& result, T& second) const {
    if constexpr (order == Order::value) {
      result = narrow<T>(numbers.value(f, A(widen(x)) + b));
      return 0;
    }
    const A u = A(widen(r)) + b, slope = reference ? numbers.slope(f, u) : numbers.gain;
    if constexpr (order == Order::first) {
      const A g = A(widen(x)) * slope;
      result = narrow<T>(g);
      return g;
    }
    const A along = A(widen(t)) + c;
    result = narrow<T>(along * slope);
    if constexpr (!F::curved) return 0;
    const A bent = along * A(widen(x)) * numbers.curvature(f, u);
    second = narrow<T>(bent);
    return bent;
  }

  // Calls f with the activation. A second derivative is summed only where backward reads x.
  template <bool summed, class F>
  __device__ __forceinline__ void choose(F&& f) const {
    if constexpr (summed && order == Order::second) {
      f(activations::Swish{});
    } else {
      with_activation(activation, f);
    }
  }

  // A vector; element j's channel has the numbers b[j] and c[j]. The activation is chosen here, between the vectors of
  // a thread, which all take the same branch: chosen around everything, the rest of the code would be there nine times.
  template <bool summed>
  __device__ __forceinline__ void use(Loaded& x, const A (&b)[width], const A (&c)[width], A (&terms)[width]) const {
    choose<summed>([&](auto f) {
      Vector<T> second;
#pragma unroll
      for (int j = 0; j < width; ++j) {
        terms[j] = element(f, x.main.at[j], x.reference.at[j], x.tangent.at[j], b[j], c[j], x.main.at[j], second.at[j]);
      }
      store(out + x.at, x.main);
      if constexpr (order == Order::second && decltype(f)::curved) store(other + x.at, second);
    });
  }
  template <bool summed>
  __device__ __forceinline__ A one(int64_t i, A b, A c) const {
    A term = 0;
    choose<summed>([&](auto f) {
      T result, second;
      term = element(f, at_or_zero(main, i), at_or_zero(reference, i), at_or_zero(tangent, i), b, c, result, second);
      out[i] = result;
      if constexpr (order == Order::second && decltype(f)::curved) other[i] = second;
    });
    return term;
  }
};

__device__ __forceinline__ int64_t divided(int64_t a, int64_t b) {
  return (a | b) <= 0xffffffff ? int64_t(static_cast<uint32_t>(a) / static_cast<uint32_t>(b)) : a / b;
}

// The channel of an element and how far it is into its stretch; next() is that of the element after it.
struct Place {
  int64_t channel, into, channels, inner;

  __device__ __forceinline__ Place(int64_t i, int64_t channels, int64_t inner) : channels(channels), inner(inner) {
    const int64_t stretch = divided(i, inner);
    into = i - stretch * inner;
    channel = stretch - divided(stretch, channels) * channels;
  }
  __device__ __forceinline__ void next() {
    if (++into < inner) return;
    into = 0;
    channel = channel + 1 < channels ? channel + 1 : 0;
  }
};

// A channel's numbers, which a lane's next vector mostly needs again.
template <class A>
struct Known {
  int64_t channel = -1;
  A b = 0, c = 0;
};

// The numbers of the channels of a vector's elements, from `place` on.
template <class T, Order order>
__device__ __forceinline__ void numbers_from(const Pass<T, order>& p, Place place, Known<Accumulate<T>>& known,
                                             Accumulate<T> (&b)[Vector<T>::width],
                                             Accumulate<T> (&c)[Vector<T>::width]) {
  if (place.channel != known.channel) {
    known = {place.channel, p.number(p.b, place.channel), p.number(p.tangent_b, place.channel)};
  }
  b[0] = known.b, c[0] = known.c;
#pragma unroll
  for (int j = 1; j < Vector<T>::width; ++j) {
    place.next();
    b[j] = b[j - 1], c[j] = c[j - 1];
    if (place.into == 0) b[j] = p.number(p.b, place.channel), c[j] = p.number(p.tangent_b, place.channel);
  }
}

template <class T, Order order>
__global__ void GANOPS_BOUNDS(is_double<T> ? 2 : 3)
    flat_kernel(const Pieces pieces, const Pass<T, order> p, const bool vectors) {
  using A = Accumulate<T>;
  for_units(pieces, [&](int64_t, int64_t begin, int64_t end, int64_t) {
    Known<A> known;
    visit_piece<T, together<order>>(
        begin, end, vectors, [&](int64_t i, bool inside) { return p.load(i, inside); },
        [&](int64_t i, auto& x) {
          A b[Vector<T>::width] = {}, c[Vector<T>::width] = {}, terms[Vector<T>::width];
          if (p.b || p.tangent_b) numbers_from(p, Place(i, p.channels, p.inner), known, b, c);
          p.template use<false>(x, b, c, terms);
        },
        [&](int64_t i) {
          const Place place(i, p.channels, p.inner);
          p.template one<false>(i, p.number(p.b, place.channel), p.number(p.tangent_b, place.channel));
        });
  });
}

// A channel's elements as a sample of sum_samples().
template <class T, Order order>
struct Stretches {
  using A = Accumulate<T>;
  static constexpr int together = cuda::together<order>, blocks = is_double<T> ? 2 : 3;
  Pass<T, order> p;

  // Where element i of all channels' elements, channel after channel, lies.
  __device__ __forceinline__ int64_t address(int64_t i) const {
    const int64_t size = p.outer * p.inner, channel = divided(i, size), within = i - channel * size;
    const int64_t outer = divided(within, p.inner);
    return (outer * p.channels + channel) * p.inner + within - outer * p.inner;
  }
  __device__ __forceinline__ int64_t channel_of(int64_t at) const {
    const int64_t stretch = divided(at, p.inner);
    return stretch - divided(stretch, p.channels) * p.channels;
  }
  __device__ __forceinline__ auto load(int64_t i, bool inside) const { return p.load(inside ? address(i) : 0, inside); }
  __device__ __forceinline__ void use(const typename Pass<T, order>::Loaded& loaded, A& sum) const {
    auto x = loaded;
    const int64_t channel = p.b || p.tangent_b ? channel_of(x.at) : 0;
    const A known_b = p.number(p.b, channel), known_c = p.number(p.tangent_b, channel);
    A b[Vector<T>::width], c[Vector<T>::width], terms[Vector<T>::width];
#pragma unroll
    for (int j = 0; j < Vector<T>::width; ++j) b[j] = known_b, c[j] = known_c;
    p.template use<true>(x, b, c, terms);
#pragma unroll
    for (int j = 0; j < Vector<T>::width; ++j) sum += terms[j];
  }
  __device__ __forceinline__ void one(int64_t i, A& sum) const {
    const int64_t at = address(i), channel = channel_of(at);
    sum += p.template one<true>(at, p.number(p.b, channel), p.number(p.tangent_b, channel));
  }
};

template <class T>
struct WriteChannel {
  void* out;
  bool wide;

  __device__ __forceinline__ double sample(int64_t channel, double sum) const {
    const Accumulate<T> found = static_cast<Accumulate<T>>(sum);
    if (wide) {
      static_cast<Accumulate<T>*>(out)[channel] = found;
    } else {
      static_cast<T*>(out)[channel] = narrow<T>(found);
    }
    return 0;
  }
  __host__ __device__ bool totals() const { return false; }
  __device__ __forceinline__ void total(double) const {}
};

// The matrix of joined rows, and how blocks share it: `tiles` across, `pieces` down.
struct Columns {
  int64_t length, rows, joined, tiles, piece, pieces;

  Columns(const Channels& shape, int width) {
    const int64_t row = shape.channels * shape.inner, wanted = warp_size * width;
    // As many as fit into the lanes of a warp, and such that vectors are whole.
    joined = row % width == 0 ? wanted / row : width * (warp_size / row);
    if (joined == 0) joined = row % width == 0 ? 1 : width;
    length = joined * row;
    rows = divide_up(shape.count(), length);
    tiles = divide_up(length, wanted);
    constexpr int64_t warps = block_size / warp_size;
    const int64_t share = divide_up(rows * tiles, 3 * multiprocessors());
    piece = warps * divide_up(share, warps);
    pieces = divide_up(rows, piece);
  }
};

template <class T, Order order>
__global__ void GANOPS_BOUNDS(is_double<T>&& order == Order::second ? 1 : 2)
    columns_kernel(const Columns columns, const Pass<T, order> p, const bool vectors, double* partial) {
  using A = Accumulate<T>;
  constexpr int width = Vector<T>::width, n = together<order>, warps = block_size / warp_size;
  __shared__ A shared[warps][warp_size * width];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  for (int64_t block = blockIdx.x; block < columns.tiles * columns.pieces; block += gridDim.x) {
    const int64_t part = block / columns.tiles, tile = block - part * columns.tiles;
    const int64_t column = (tile * warp_size + lane) * width;
    const int64_t begin = part * columns.piece;
    const int64_t end = begin + columns.piece < columns.rows ? begin + columns.piece : columns.rows;
    const int64_t count = p.count();
    A sums[width] = {}, known_b[width] = {}, known_c[width] = {};
    Known<A> known;
    if (p.b || p.tangent_b) numbers_from(p, Place(column, p.channels, p.inner), known, known_b, known_c);
    for (int64_t row = begin + warp; row < end; row += n * warps) {
      if (vectors) {
        in_two_phases<n>(
            row, warps, end,
            [&](int64_t i, bool inside) {
              const int64_t at = i * columns.length + column;
              const bool mine = inside && column < columns.length && at < count;
              return p.load(mine ? at : 0, mine);
            },
            [&](int64_t i, auto& x) {
              if (column >= columns.length || i * columns.length + column >= count) return;
              A terms[width];
              p.template use<true>(x, known_b, known_c, terms);
#pragma unroll
              for (int j = 0; j < width; ++j) sums[j] += terms[j];
            });
      } else {
#pragma unroll 1
        for (int64_t i = row; i < end && i < row + n * warps; i += warps) {
#pragma unroll
          for (int j = 0; j < width; ++j) {
            const int64_t at = i * columns.length + column + j;
            if (column + j < columns.length && at < count) {
              sums[j] += p.template one<true>(at, known_b[j], known_c[j]);
            }
          }
        }
      }
    }
    __syncthreads();  // the sums of the tile before may still be read
#pragma unroll
    for (int j = 0; j < width; ++j) shared[warp][lane * width + j] = sums[j];
    __syncthreads();
    for (int i = threadIdx.x; i < warp_size * width; i += block_size) {
      if (tile * warp_size * width + i >= columns.length) continue;
      double sum = 0;
#pragma unroll
      for (int w = 0; w < warps; ++w) sum += shared[w][i];
      partial[part * columns.length + tile * warp_size * width + i] = sum;
    }
  }
}

// A warp for each channel.
template <class T>
__global__ void GANOPS_BOUNDS(4) add_columns_kernel(const Columns columns, const int64_t channels, const int64_t inner,
                                                    const double* partial, const WriteChannel<T> finish) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  constexpr int warps = block_size / warp_size;
  for (int64_t channel = int64_t(blockIdx.x) * warps + warp; channel < channels;
       channel += int64_t(gridDim.x) * warps) {
    LongSum share;
    for (int64_t i = lane; i < columns.pieces * columns.joined * inner; i += warp_size) {
      const int64_t row = divided(i, inner);  // of channels, joined ones one after another
      share.add(partial[(row * channels + channel) * inner + i - row * inner]);
    }
    const double sum = warp_sum(share.value());
    if (lane == 0) finish.sample(channel, sum);
  }
}

bool in_stretches(const Channels& shape) { return shape.inner >= long_stretch || shape.outer * shape.inner == 0; }

int64_t workspace(const Channels& shape) {
  if (in_stretches(shape)) {
    return sum_workspace(shape.channels, shape.outer * shape.inner, together<Order::first>) * sizeof(double);
  }
  int64_t most = 0;
  for (const int width : {Vector<double>::width, Vector<float>::width, Vector<Half>::width}) {
    const Columns columns(shape, width);
    const int64_t needed = columns.pieces * columns.length;
    most = needed > most ? needed : most;
  }
  return most * sizeof(double);
}

template <class T, Order order>
void run(Stream stream, const BiasAct& how, const Pass<T, order>& p, void* sum, void* workspace) {
  constexpr int width = Vector<T>::width;
  const Channels& shape = how.shape;
  if (!sum) {
    const Pieces pieces(1, shape.count(), warp_vector<T>, together<order>, Purpose::write);
    return launch(flat_kernel<T, order>, pieces.blocks(), pieces.threads(), stream, pieces, p,
                  shape.count() % width == 0 && p.aligned());
  }
  if constexpr (order != Order::value) {
    const WriteChannel<T> finish{sum, how.wide};
    if (in_stretches(shape)) {
      const Pieces pieces(shape.channels, shape.outer * shape.inner, warp_vector<T>, together<order>, Purpose::sum);
      return sum_samples<T>(stream, pieces, Stretches<T, order>{p}, shape.inner % width == 0 && p.aligned(), finish,
                            workspace);
    }
    const Columns columns(shape, width);
    double* const partial = static_cast<double*>(workspace);
    launch(columns_kernel<T, order>, columns.tiles * columns.pieces, block_size, stream, columns, p,
           shape.count() % width == 0 && p.aligned(), partial);
    launch(add_columns_kernel<T>, divide_up(shape.channels, block_size / warp_size), block_size, stream, columns,
           shape.channels, shape.inner, partial, finish);
  }
}

void forward(Stream stream, DType dtype, const BiasAct& how, const void* x, const void* b, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    run<T, Order::value>(stream, how, Pass<T, Order::value>(how, x, b, out), nullptr, nullptr);
  });
}

void backward(Stream stream, DType dtype, const BiasAct& how, const void* grad, const void* reference, const void* b,
              void* out, void* sum, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T, Order::first> p(how, grad, b, out);
    p.reference = static_cast<const T*>(reference);
    run<T, Order::first>(stream, how, p, sum, workspace);
  });
}

void double_backward(Stream stream, DType dtype, const BiasAct& how, const void* tangent, const void* tangent_b,
                     const void* grad, const void* reference, const void* b, void* grad_out, void* reference_out,
                     void* sum, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    // The gradient is needed for the second derivative alone.
    Pass<T, Order::second> p(how, reference_out ? grad : nullptr, b, grad_out);
    p.reference = static_cast<const T*>(reference), p.tangent = static_cast<const T*>(tangent);
    p.tangent_b = tangent_b, p.other = static_cast<T*>(reference_out);
    run<T, Order::second>(stream, how, p, sum, workspace);
  });
}

}  // namespace

extern const BiasActKernels bias_act{forward, workspace, backward, double_backward};

}  // namespace ganops::cuda
