// Contract of the adversarial losses. A loss is a sum over at most two segments (real logits, fake logits) of a scalar
// term, outer · base(inner·x + offset), each segment with a scale (1 or 1/n). Or over one segment whose logits are
// paired with those of another: x is then the difference.
#pragma once

#include "common.h"

namespace ganops {

enum class Base : int { softplus, linear, exponential, square, relu };
constexpr const char* base_names[] = {"softplus", "linear", "exponential", "square", "relu"};

struct Term {
  Base base;
  double outer, inner, offset;
};

struct LossSegment {
  const void* logits;
  int64_t count;
  Term term;
  double scale;
  void* out = nullptr;            // as many elements as logits
  const void* tangent = nullptr;  // for `second`: the gradient with respect to what `first` wrote
};

constexpr int max_segments = 2;

// Paired: the count is 1, and x is segment[0]'s logit less segment[1]'s, the tangent likewise; what is written to
// segment[0] is written to segment[1] with the other sign.
struct LossSegments {
  LossSegment segment[max_segments];
  int count;
  bool paired = false;
};

// The gradient that arrives from above: one element, or one per logit (single segment).
struct LossGradient {
  const void* data;
  bool per_element;
};

struct AdversarialLossKernels {
  // Bytes of scratch memory that `sum` and a reduced `second` need.
  int64_t (*workspace)(const LossSegments&);

  // *out = Σₛ scale Σᵢ f(xᵢ), one element of the logits' dtype.
  void (*sum)(Stream, DType, const LossSegments&, void* out, void* workspace);

  // outᵢ = f(xᵢ), one segment; nothing is written to its partner.
  void (*value)(Stream, DType, const LossSegments&);

  // outᵢ = g·scale·f'(xᵢ)
  void (*first)(Stream, DType, const LossSegments&, LossGradient);

  // outᵢ = tᵢ·g·scale·f''(xᵢ), and for g: Σₛ scale Σᵢ tᵢ f'(xᵢ), or the summands where g is per element.
  void (*second)(Stream, DType, const LossSegments&, LossGradient, void* gradient_out, void* workspace);
};

}  // namespace ganops
