// Differentiable augmentation of one image, given its row of seven numbers u.
//
// With m the mean over the channels at a pixel and μ the mean over the image, brightness β, saturation s and contrast k
// make, one after another,
//
//   x + β,  then  s·x + (1 − s)·m + β,  then  k·s·x + k(1 − s)·m + (1 − k)·μ + β.
//
// So colour is y = A·x + β with A = own + grey·(mean over channels) + mean·(mean over the image), each of which is
// symmetric. Translation and cutout are a selection T: an output pixel is one input pixel, or 0. Hence the three forms
//
//   value    T(A·x + β)
//   linear   T·A·x
//   adjoint  A·Tᵀ·g, the gradient of both; Tᵀ reads in the opposite direction, and moves the hole along.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// Columns of the table of numbers, U[0, 1) where they are drawn. ½ in the first five and −1 in the last two leave the
// image as it is.
enum Draw : int { brightness, saturation, contrast, shift_y, shift_x, hole_y, hole_x, draws };

constexpr double largest_shift = 0.125, hole_side = 0.5;  // in sides of the image

struct Span {
  int64_t begin, end;

  GANOPS_INLINE bool holds(int64_t place) const { return place >= begin && place < end; }
};

// One axis of T: output place i takes input place i + shift if `inside` holds i and, in both axes, `hole` does not.
struct Selection {
  int64_t shift;
  Span inside, hole;

  static GANOPS_INLINE int64_t clamped(double x, double low, double high) {
    return static_cast<int64_t>(x > low ? (x < high ? x : high) : low);  // NaN too
  }

  // `move` and `hole` are numbers of the table. A number of 24 bits times a side is exact in double, so that all dtypes
  // select the same.
  GANOPS_INLINE Selection(int64_t side, bool translated, double move, bool cut, double middle, bool adjoint)
      : shift(0), hole{0, 0} {
    if (translated) {
      const int64_t most = static_cast<int64_t>(side * largest_shift + 0.5);
      shift = clamped(floor(move * (2 * most + 1)) - most, -side, side);
    }
    if (cut) {
      const int64_t length = static_cast<int64_t>(side * hole_side + 0.5);
      const int64_t first = clamped(floor(middle * (side + 1 - length % 2)) - length / 2, -length, side);
      const int64_t moved = adjoint ? shift : 0;
      hole = {bounded(first + moved, side), bounded(first + length + moved, side)};
    }
    if (adjoint) shift = -shift;
    inside = {bounded(-shift, side), bounded(side - shift, side)};
  }

  // The same places counted `times` as fine: those of a row's elements where each place has `times` of them.
  GANOPS_INLINE Selection finer(int64_t times) const {
    Selection result = *this;
    result.shift *= times;
    result.inside = {inside.begin * times, inside.end * times};
    result.hole = {hole.begin * times, hole.end * times};
    return result;
  }

  static GANOPS_INLINE int64_t bounded(int64_t place, int64_t side) {
    return place < 0 ? 0 : place > side ? side : place;
  }
};

// Colour at one element: own·x + grey·(Σ over channels) + inside, and `outside` where T selects nothing.
template <class A>
struct Colour {
  A own = 1, grey = 0, inside = 0, outside = 0;

  Colour() = default;

  // `u` is the image's row, `sum` that of all its elements (of those that T selects, for the adjoint).
  GANOPS_INLINE Colour(const A* u, double sum, int64_t channels, int64_t pixels, bool value, bool adjoint) {
    const A s = 2 * u[saturation], k = u[contrast] + A(0.5);
    // The mean over one channel is the element itself.
    own = channels == 1 ? k : k * s;
    grey = channels == 1 ? A(0) : k * (1 - s) / channels;
    const A mean = (1 - k) * static_cast<A>(sum / (static_cast<double>(channels) * pixels));
    inside = value ? mean + (u[brightness] - A(0.5)) : mean;
    outside = adjoint ? mean : A(0);
  }
};

}  // namespace GANOPS_ISA
}  // namespace ganops
