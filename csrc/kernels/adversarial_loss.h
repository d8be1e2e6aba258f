// Contract of the adversarial losses. A loss is a sum over segments of logits, any number of them, of a scalar term,
// outer · (base(u) + tilt·u) with u = inner·x + offset, each segment with a scale (1, 1/n, or that over the number of
// discriminators). One tensor is one segment, real and fake logits are two, the outputs of K discriminators K or 2K.
#pragma once

#include "common.h"

namespace ganops {

enum class Base : int { softplus, linear, exponential, square, relu };
constexpr const char* base_names[] = {"softplus", "linear", "exponential", "square", "relu"};

struct Term {
  Base base;
  double outer, inner, offset, tilt = 0;  // of the bases only the softplus is tilted
};

// What belongs to one tensor of logits, or where samples have weights to one sample of it. Paired: x is the logit less
// its partner's and the tangent likewise, and what is written to `out` is written to `partner_out` with the other sign.
struct LossSegment {
  int64_t count;
  double scale;
  const void* logits;
  const void* partner = nullptr;
  const void* weight = nullptr;                 // a number in the logits' dtype, times which the term is taken; null: 1
  void *out = nullptr, *partner_out = nullptr;  // as many elements as logits
  // For `second`: the gradient with respect to what `first` wrote.
  const void *tangent = nullptr, *partner_tangent = nullptr;
  // Where the loss is one number per logit: the gradient from above, and what `second` says of it.
  const void* above = nullptr;
  void* above_out = nullptr;
};

// A discriminator has `samples` · `parts` segments, one after the other. Segment s has the term s mod `parts`; where
// samples are apart, parts is 1.
struct LossTable {
  const LossSegment* segments;
  int64_t count;
  Term terms[2];
  int parts = 1;  // 2: real and fake logits in turn
  int64_t samples = 1;
  bool paired = false;       // of all segments or of none
  bool each = false;         // each discriminator has a value of its own
  bool per_element = false;  // the gradient from above is one number per logit
};

// The loss and, each null where it is not asked for, what its one part and its other part are of it; in `each` case one
// number a discriminator, else one. Also the gradients from above, whose sum reaches a segment.
constexpr int loss_views = 3;
template <class Pointer>
struct LossViews {
  Pointer at[loss_views];
};
using LossValues = LossViews<void*>;
using LossGradients = LossViews<const void*>;

struct AdversarialLossKernels {
  // Bytes of scratch memory that `sum` and a `second` that is not per element need.
  int64_t (*workspace)(const LossTable&);

  // Σ scale Σᵢ f(xᵢ) over the segments of each view, in the logits' dtype.
  void (*sum)(Stream, DType, const LossTable&, const LossValues&, void* workspace);

  // outᵢ = f(xᵢ); nothing is written to a partner.
  void (*value)(Stream, DType, const LossTable&);

  // outᵢ = g·scale·f'(xᵢ)
  void (*first)(Stream, DType, const LossTable&, const LossGradients&);

  // outᵢ = tᵢ·g·scale·f''(xᵢ), and for g: Σ scale Σᵢ tᵢ f'(xᵢ) over the segments of each view, or above_outᵢ = tᵢ
  // f'(xᵢ).
  void (*second)(Stream, DType, const LossTable&, const LossGradients&, const LossValues&, void* workspace);
};

}  // namespace ganops
