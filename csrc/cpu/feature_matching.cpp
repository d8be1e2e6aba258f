// Feature matching on the CPU. The chunks of all pairs form one list that the threads share, so one large pair is
// divided and many small ones are taken together.
//
// A chunk is worked on in blocks of 16 rows of 16 lanes. A lane's 16 signs are one 32-bit word, so that packing and
// unpacking them are shifts of whole vectors.
#include "../kernels/feature_matching.h"

#include <type_traits>
#include <vector>

#include "loops.h"

// Vectors wider than the machine's are passed between functions that are all inlined: no ABI is concerned.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace ganops::cpu::GANOPS_ISA {
namespace {

constexpr int64_t lanes = 16, rows = 16, block = lanes * rows;

template <class A>
struct LanesOf {
  using Integer = std::conditional_t<sizeof(A) == 4, uint32_t, uint64_t>;
  typedef A numbers __attribute__((vector_size(lanes * sizeof(A))));
  typedef Integer integers __attribute__((vector_size(lanes * sizeof(A))));
};
template <class A>
using Numbers = typename LanesOf<A>::numbers;
template <class A>
using Integers = typename LanesOf<A>::integers;
using Words = Integers<float>;

template <class T>
GANOPS_INLINE Numbers<Accumulate<T>> load(const T* from) {
  using A = Accumulate<T>;
  Numbers<A> result;
  if constexpr (std::is_same_v<T, A>) {
    memcpy(&result, from, sizeof(result));
  } else {
    alignas(64) A wide[lanes];
    GANOPS_SIMD
    for (int64_t i = 0; i < lanes; ++i) wide[i] = widen(from[i]);
    memcpy(&result, wide, sizeof(result));
  }
  return result;
}

template <class A>
GANOPS_INLINE Numbers<A> magnitude(const Numbers<A>& x) {
  using Integer = typename LanesOf<A>::Integer;
  return (Numbers<A>)((Integers<A>)x & (~Integer(0) >> 1));
}

template <class A>
GANOPS_INLINE double total(const Numbers<A>& x) {
  double sum = 0;
  for (int64_t i = 0; i < lanes; ++i) sum += x[i];
  return sum;
}

template <class A>
struct Sums {
  Numbers<A> distance[2] = {}, norm[2] = {};
};

template <bool l1, bool normalize, class T>
GANOPS_INLINE void sum_block(const T* real, const T* fake, uint32_t* signs, Sums<Accumulate<T>>& sums) {
  using A = Accumulate<T>;
  Integers<A> codes = {};
#pragma GCC unroll 16
  for (int64_t row = 0; row < rows; ++row) {
    const Numbers<A> x = load(real + row * lanes), y = load(fake + row * lanes), d = x - y;
    if constexpr (l1) {
      sums.distance[row % 2] += magnitude<A>(d);
      const typename LanesOf<A>::Integer bit = uint32_t(1) << (2 * row);
      codes |= ((Integers<A>)(d > 0) & bit) | ((Integers<A>)(d < 0) & (2 * bit));
    } else {
      sums.distance[row % 2] += d * d;
    }
    if constexpr (normalize) sums.norm[row % 2] += magnitude<A>(x);
  }
  if (l1 && signs != nullptr) {
    const Words words = __builtin_convertvector(codes, Words);
    memcpy(signs, &words, sizeof(words));
  }
}

// Where the chunks of a pair end in the list of all chunks.
std::vector<int64_t> ends_of(const FeaturePair* pairs, int64_t count) {
  std::vector<int64_t> ends(count);
  int64_t chunks = 0;
  for (int64_t k = 0; k < count; ++k) ends[k] = chunks += chunks_of(pairs[k].count);
  return ends;
}

// body(pair, first element, elements, chunk) for every chunk.
template <class Body>
void for_chunks(const FeaturePair* pairs, const std::vector<int64_t>& ends, const Body& body) {
  const int64_t count = ends.size(), chunks = ends.back();
  if (chunks == 0) return;
  int64_t elements = 0;
  for (int64_t k = 0; k < count; ++k) elements += pairs[k].count;
  parallel(chunks, (elements + chunks - 1) / chunks, [&](int64_t number) {
    int64_t k = 0;
    for (int64_t high = count - 1; k < high;) {
      const int64_t middle = (k + high) / 2;
      number < ends[middle] ? high = middle : k = middle + 1;
    }
    const int64_t begin = (number - (k > 0 ? ends[k - 1] : 0)) * chunk;
    body(k, begin, smaller(chunk, pairs[k].count - begin), number);
  });
}

uint32_t* words_of(const FeaturePair& pair, int64_t begin) { return static_cast<uint32_t*>(pair.signs) + begin / rows; }

int64_t workspace(DType, const FeaturePair* pairs, int64_t count) {
  int64_t chunks = 0;
  for (int64_t k = 0; k < count; ++k) chunks += chunks_of(pairs[k].count);
  return 2 * chunks * sizeof(double);
}

struct Partial {
  double distance, norm;
};

template <bool l1, bool normalize, class T>
Partial sum_chunk(const T* real, const T* fake, int64_t length, uint32_t* signs) {
  Sums<Accumulate<T>> sums;
  int64_t i = 0;
  const auto next = [&](const T* x, const T* y) {
    sum_block<l1, normalize>(x, y, signs, sums);
    if (signs != nullptr) signs += lanes;
  };
  for (; i + block <= length; i += block) next(real + i, fake + i);
  if (i < length) {  // zeros add nothing
    T x[block] = {}, y[block] = {};
    memcpy(x, real + i, (length - i) * sizeof(T));
    memcpy(y, fake + i, (length - i) * sizeof(T));
    next(x, y);
  }
  using A = Accumulate<T>;
  return {total<A>(sums.distance[0]) + total<A>(sums.distance[1]), total<A>(sums.norm[0]) + total<A>(sums.norm[1])};
}

template <class F>
void with_choice(const FeatureMatching& setting, const F& f) {
  const auto with_distance = [&](auto l1) { setting.normalize ? f(l1, std::true_type()) : f(l1, std::false_type()); };
  setting.distance == Distance::l1 ? with_distance(std::true_type()) : with_distance(std::false_type());
}

template <class T>
void put(void* out, int64_t place, double value, bool wide) {
  using A = Accumulate<T>;
  if (wide) {
    static_cast<A*>(out)[place] = value;
  } else {
    static_cast<T*>(out)[place] = narrow<T>(static_cast<A>(value));
  }
}

void value(Stream, DType dtype, const FeaturePair* pairs, int64_t count, const FeatureMatching& setting, void* out,
           void* scales, void* workspace) {
  const std::vector<int64_t> ends = ends_of(pairs, count);
  Partial* partial = static_cast<Partial*>(workspace);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_choice(setting, [&](auto l1, auto normalize) {
      for_chunks(pairs, ends, [&](int64_t k, int64_t begin, int64_t length, int64_t number) {
        uint32_t* words = pairs[k].signs != nullptr ? words_of(pairs[k], begin) : nullptr;
        partial[number] = sum_chunk<l1(), normalize()>(static_cast<const T*>(pairs[k].real) + begin,
                                                       static_cast<const T*>(pairs[k].fake) + begin, length, words);
      });
    });
    LongSum loss;
    for (int64_t k = 0; k < count; ++k) {
      LongSum distance, norm;
      for (int64_t i = k > 0 ? ends[k - 1] : 0; i < ends[k]; ++i) {
        distance.add(partial[i].distance);
        norm.add(partial[i].norm);
      }
      double v = distance.value() / pairs[k].count;
      if (setting.normalize) {
        const double scale = norm.value() / pairs[k].count;
        static_cast<A*>(scales)[k] = scale;
        v /= scale;
      }
      if (setting.reduction == ScaleReduction::none) {
        put<T>(out, k, v, setting.wide);
      } else {
        loss.add(v);
      }
    }
    if (setting.reduction != ScaleReduction::none) {
      put<T>(out, 0, setting.reduction == ScaleReduction::mean ? loss.value() / count : loss.value(), setting.wide);
    }
  });
}

// What the gradient of pair k is multiplied with, divided in the order of autograd's formula.
template <class T>
GANOPS_INLINE Accumulate<T> slope_of(const FeatureMatching& setting, const void* gradient, const void* scales,
                                     int64_t k, int64_t pairs, int64_t count) {
  using A = Accumulate<T>;
  const int64_t place = setting.reduction == ScaleReduction::none ? k : 0;
  A slope = setting.wide ? static_cast<const A*>(gradient)[place] : A(widen(static_cast<const T*>(gradient)[place]));
  if (setting.reduction == ScaleReduction::mean) slope = slope / A(pairs);
  if (setting.normalize) slope = slope / static_cast<const A*>(scales)[k];
  return slope / A(count);
}

// The gradients of one block, to where they belong.
template <class T>
GANOPS_INLINE void write_block(T* out, const Numbers<Accumulate<T>> (&value)[rows], bool negative, int64_t length,
                               bool past) {
  using A = Accumulate<T>;
  alignas(64) T buffer[block];
  T* to = past || length < block ? buffer : out;
#pragma GCC unroll 16
  for (int64_t row = 0; row < rows; ++row) {
    const Numbers<A> x = negative ? -value[row] : value[row];
    if constexpr (std::is_same_v<T, A>) {
      memcpy(to + row * lanes, &x, sizeof(x));
    } else {
      GANOPS_SIMD
      for (int64_t i = 0; i < lanes; ++i) to[row * lanes + i] = narrow<T>(x[i]);
    }
  }
  if (past) {
    stream(out, buffer, length * sizeof(T));
  } else if (length < block) {
    memcpy(out, buffer, length * sizeof(T));
  }
}

void first(Stream, DType dtype, const FeaturePair* pairs, int64_t count, const FeatureMatching& setting,
           const void* gradient, const void* scales) {
  const std::vector<int64_t> ends = ends_of(pairs, count);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    int64_t written = 0;
    for (int64_t k = 0; k < count; ++k) {
      written += pairs[k].count * ((pairs[k].real_out != nullptr) + (pairs[k].fake_out != nullptr));
    }
    const bool past = written * static_cast<int64_t>(sizeof(T)) >= past_cache;
    for_chunks(pairs, ends, [&](int64_t k, int64_t begin, int64_t length, int64_t) {
      const FeaturePair& pair = pairs[k];
      const A slope = slope_of<T>(setting, gradient, scales, k, count, pair.count);
      const Numbers<A> up = slope - Numbers<A>{}, zero = up * A(0);
      for (int64_t i = 0; i < length; i += block) {
        const int64_t some = smaller(block, length - i);
        Numbers<A> value[rows];
        if (setting.distance == Distance::l1) {
          Words packed;
          memcpy(&packed, words_of(pair, begin + i), sizeof(packed));
          const Integers<A> codes = __builtin_convertvector(packed, Integers<A>);
#pragma GCC unroll 16
          for (int64_t row = 0; row < rows; ++row) {
            const typename LanesOf<A>::Integer bit = uint32_t(1) << (2 * row);
            value[row] = (codes & bit) != 0 ? up : (codes & (2 * bit)) != 0 ? -up : zero;
          }
        } else {
          alignas(64) T x[block], y[block];
          const T *real = static_cast<const T*>(pair.real) + begin + i,
                  *fake = static_cast<const T*>(pair.fake) + begin + i;
          if (some < block) {
            memcpy(x, real, some * sizeof(T));
            memcpy(y, fake, some * sizeof(T));
            memset(x + some, 0, (block - some) * sizeof(T));
            memset(y + some, 0, (block - some) * sizeof(T));
            real = x, fake = y;
          }
#pragma GCC unroll 16
          for (int64_t row = 0; row < rows; ++row) {
            value[row] = up * (A(2) * (load(real + row * lanes) - load(fake + row * lanes)));
          }
        }
        if (pair.real_out) write_block(static_cast<T*>(pair.real_out) + begin + i, value, false, some, past);
        if (pair.fake_out) write_block(static_cast<T*>(pair.fake_out) + begin + i, value, true, some, past);
      }
    });
  });
}

}  // namespace

extern const FeatureMatchingKernels feature_matching{workspace, value, first};

}  // namespace ganops::cpu::GANOPS_ISA
