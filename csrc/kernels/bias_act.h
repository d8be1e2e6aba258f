// Contract of bias_act: y = clamp(gain·φ(x + b)), with one b a channel, and its derivatives of the first two orders.
//
// Backward reads the result y, from which φ' follows, or x where it does not; see `kept`. With s = dy/du, u = x + b:
//
//     first:   grad_x = grad·s,               grad_b = Σ grad_x over everything but the channels
//     second:  t = tangent + tangent_b,  grad_grad = t·s,  grad_reference = t·grad·∂s/∂reference, and its Σ
#pragma once

#include "common.h"

namespace ganops {

enum class Activation : int { linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus, swish };
constexpr const char* activation_names[] = {"linear", "relu", "lrelu",    "tanh", "sigmoid",
                                            "elu",    "selu", "softplus", "swish"};
constexpr int64_t activation_count = sizeof(activation_names) / sizeof(activation_names[0]);

// Which tensor backward reads.
enum class Kept : int { result, input };

// Dense tensors, read as (outer, channels, inner).
struct Channels {
  int64_t outer, channels, inner;

  int64_t count() const { return outer * channels * inner; }
};

struct BiasAct {
  Channels shape;
  Activation activation;
  double alpha, gain;
  double clamp;  // NaN: none
  bool wide;     // what there is one of for each channel is of the accumulation type
};

struct BiasActKernels {
  void (*forward)(Stream, DType, const BiasAct&, const void* x, const void* b, void* out);
  // Bytes for a sum over everything but the channels.
  int64_t (*workspace)(const Channels&);
  // b, reference (of the linear function without clamp), tangents and sums may be null.
  void (*backward)(Stream, DType, const BiasAct&, const void* grad, const void* reference, const void* b, void* out,
                   void* sum, void* workspace);
  // reference_out is null where the second derivative is zero.
  void (*double_backward)(Stream, DType, const BiasAct&, const void* tangent, const void* tangent_b, const void* grad,
                          const void* reference, const void* b, void* grad_out, void* reference_out, void* sum,
                          void* workspace);
};

}  // namespace ganops
