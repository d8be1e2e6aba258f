// Contract of the anti-aliased Snake; ../math/filtered_snake.h has its formula. Signals are (samples, channels,
// length), contiguous. α, q and the filters are of the accumulation type, and so are the derivatives by α and q.
#pragma once

#include "common.h"

namespace ganops {

struct SnakeShape {
  int64_t samples, channels, length;
  int ratio, up_taps, down_taps;

  int64_t rows() const { return samples * channels; }
};

// What the kernels take at most; see upfirdn.h.
constexpr int most_snake_ratio = 8, most_snake_taps = 32;

// The signal, α and q of each channel, and the filters.
struct SnakeInputs {
  const void *x, *alpha, *q, *up, *down;
};

// Results or tangents for x, α and q.
struct SnakeGradients {
  void *x, *alpha, *q;
};
struct SnakeTangents {
  const void *x, *alpha, *q;
};

struct FilteredSnakeKernels {
  // Bytes of scratch memory that backward and double_backward need.
  int64_t (*workspace)(DType, const SnakeShape&);

  void (*forward)(Stream, DType, const SnakeShape&, const SnakeInputs&, void* out);

  // The derivatives by x, α and q of ⟨grad, forward⟩.
  void (*backward)(Stream, DType, const SnakeShape&, const void* grad, const SnakeInputs&, const SnakeGradients&,
                   void* workspace);

  // Of ⟨tangents, backward⟩ the derivatives by grad, x, α and q.
  void (*double_backward)(Stream, DType, const SnakeShape&, const SnakeTangents&, const void* grad, const SnakeInputs&,
                          void* grad_out, const SnakeGradients&, void* workspace);
};

}  // namespace ganops
