// Contract of the minibatch standard deviation. x is (samples, size), each sample dense; sample i belongs to group
// i mod (samples/group). Of each of the `size` features there is a deviation σ within the group (csrc/math), and their
// mean is the group's number d.
//
// The output is x with d beside it. A sample of x is `rows` stretches of `row` elements, and in an *extended* tensor,
// such as the output, each of them is followed by `tail` more, which all hold d: with one channel more these are C·P
// and P for P pixels in planes, or in each of P rows C and 1 for channels that lie side by side.
#pragma once

#include "common.h"

namespace ganops {

struct Groups {
  int64_t samples, group, rows, row, tail;

  int64_t count() const { return samples / group; }
  int64_t size() const { return rows * row; }
  int64_t tails() const { return rows * tail; }
  int64_t extended() const { return rows * (row + tail); }
};

struct MinibatchStddevKernels {
  // Bytes of scratch memory that each of the others needs.
  int64_t (*workspace)(const Groups&);

  // out (extended): x, and d.
  void (*forward)(Stream, DType, const Groups&, const void* x, void* out, void* workspace);

  // out = G's part at x + h·∂d/∂x for a gradient G (extended), of which h is the sum over a group's tails.
  void (*backward)(Stream, DType, const Groups&, const void* grad, const void* x, void* out, void* workspace);

  // For a tangent t of that `out`:
  //   grad_out (extended) = t, and the derivative of d along t
  //   x_out               = h·(the derivative of ∂d/∂x along t)
  void (*double_backward)(Stream, DType, const Groups&, const void* tangent, const void* grad, const void* x,
                          void* grad_out, void* x_out, void* workspace);
};

}  // namespace ganops
