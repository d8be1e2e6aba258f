// Contract of the optimisers: one step of every weight of every tensor, and the clipping that follows it, in place. One
// dtype and one group of settings a call.
#pragma once

#include "common.h"

namespace ganops {

enum class Rule : int { adam, rmsprop };

struct OptimizerSettings {
  Rule rule;
  double lr, beta1, beta2, eps, decay, momentum;  // RMSprop's α is beta2
  double limit;                                   // infinite: no clipping
  bool maximize, decoupled;
  // Numbers in the tensors' own memory, null where there are none: a learning rate that replaces lr (on a card only
  // beside device_step), what the gradients were multiplied by (they are divided by it, in place), and what is not 0
  // where no step is to be made.
  const float *lr_at, *grad_scale, *found_inf;
};

// Of each tensor: its elements, weights, gradients and what the rule keeps of them (Adam: m, v and, AMSGrad, the
// largest v; RMSprop: v and, if wanted, the average and the momentum; null: not kept), and the number of its step,
// from 1. With device_step that number is in the tensors' own memory, still that of the step before, and is raised
// there.
struct OptimizerTensor {
  int64_t count;
  void *weight, *gradient, *state[3];
  float* device_step;
  double step;
};

struct OptimizersKernels {
  void (*update)(Stream, DType, const OptimizerTensor*, int64_t tensors, const OptimizerSettings&);
};

}  // namespace ganops
