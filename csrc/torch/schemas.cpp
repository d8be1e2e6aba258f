// Every operator that the library defines.
#include <torch/csrc/stable/library.h>

#ifndef GANOPS_BACKEND_CUDA
#include "../cpu/isa.h"
#endif

STABLE_TORCH_LIBRARY(ganops, m) {
  // `kind` is a row of the table in csrc/math/adversarial_loss.h, `role` and `reduction` are of the enums there and in
  // csrc/kernels/common.h; a parameter is the target or the margin, and no matter where a role takes none.
  m.def("adversarial_loss(Tensor logits, int kind, int role, int reduction, float parameter) -> Tensor");
  m.def(
      "adversarial_loss_backward(Tensor grad, Tensor logits, int kind, int role, int reduction, float parameter) "
      "-> Tensor");
  m.def(
      "adversarial_loss_double_backward(Tensor tangent, Tensor grad, Tensor logits, int kind, int role, "
      "int reduction, float parameter) -> (Tensor, Tensor)");
  // D's loss of a kind whose logits are not paired, a mean or a sum of each tensor.
  m.def(
      "discriminator_loss(Tensor real, Tensor fake, int kind, int reduction, float real_parameter, "
      "float fake_parameter) -> Tensor");
  m.def(
      "discriminator_loss_backward(Tensor grad, Tensor real, Tensor fake, int kind, int reduction, "
      "float real_parameter, float fake_parameter) -> (Tensor, Tensor)");
  m.def(
      "discriminator_loss_double_backward(Tensor tangent_real, Tensor tangent_fake, Tensor grad, Tensor real, "
      "Tensor fake, int kind, int reduction, float real_parameter, float fake_parameter) -> (Tensor, Tensor, Tensor)");
  // The formula at first − second.
  m.def("paired_loss(Tensor first, Tensor second, int kind, int role, int reduction, float parameter) -> Tensor");
  m.def(
      "paired_loss_backward(Tensor grad, Tensor first, Tensor second, int kind, int role, int reduction, "
      "float parameter) -> (Tensor, Tensor)");
  m.def(
      "paired_loss_double_backward(Tensor tangent_first, Tensor tangent_second, Tensor grad, Tensor first, "
      "Tensor second, int kind, int role, int reduction, float parameter) -> (Tensor, Tensor, Tensor)");

  // The same of several discriminators at once. `logits` are theirs in turn, for each of `roles` (one or two) in turn;
  // `partners` are none, or one for each. `scale_reduction`: the sum over them, the mean, or a value of each. The
  // result is the loss, with `parts` the part of each role beside it; or per element one for each tensor of logits.
  m.def(
      "adversarial_losses(Tensor[] logits, Tensor[] partners, int kind, int[] roles, int reduction, "
      "int scale_reduction, float[] parameters, bool parts) -> Tensor[]");
  // `given`: which of the results `grads` belong to, 0 the loss, 1 and 2 its parts; of no matter per element.
  m.def(
      "adversarial_losses_backward(Tensor[] grads, int[] given, Tensor[] logits, Tensor[] partners, int kind, "
      "int[] roles, int reduction, int scale_reduction, float[] parameters) -> Tensor[]");
  // The derivatives by grads, by logits and by partners, one after the other.
  m.def(
      "adversarial_losses_double_backward(Tensor[] tangents, Tensor[] grads, int[] given, Tensor[] logits, "
      "Tensor[] partners, int kind, int[] roles, int reduction, int scale_reduction, float[] parameters) -> Tensor[]");

  m.def("interpolate(Tensor real, Tensor fake, Tensor weight) -> Tensor");
  m.def("interpolate_backward(Tensor grad, Tensor weight, bool real, bool fake) -> (Tensor, Tensor)");
  m.def("interpolate_weight_backward(Tensor grad, Tensor real, Tensor fake) -> Tensor");

  m.def("gradient_norm_penalty(Tensor gradient, float target, bool one_sided, int reduction) -> (Tensor, Tensor)");
  m.def(
      "gradient_norm_penalty_backward(Tensor grad, Tensor gradient, Tensor norm, float target, bool one_sided, "
      "int reduction) -> Tensor");
  m.def(
      "gradient_norm_penalty_double_backward(Tensor tangent, Tensor grad, Tensor gradient, Tensor norm, "
      "float target, bool one_sided, int reduction) -> (Tensor, Tensor)");

  m.def("clip_weights_(Tensor(a!)[] tensors, float limit) -> ()");

  // `policy` has a bit for each of colour, translation and cutout; `form`: 0 the images, 1 the linear part, 2 its
  // adjoint.
  m.def("diff_augment(Tensor images, Tensor parameters, int policy, int form) -> Tensor");

  // With steps_on_device the steps are tensors on the weights' device; else on the host, wherever the weights are.
  m.def(
      "adam_(Tensor(a!)[] weights, Tensor(b!)[] gradients, Tensor(c!)[] means, Tensor(d!)[] squares, "
      "Tensor(e!)[] largest, Tensor(f!)[] steps, float lr, float beta1, float beta2, float eps, float weight_decay, "
      "bool decoupled, bool maximize, float? clip, bool steps_on_device, Tensor? lr_tensor=None, "
      "Tensor? grad_scale=None, Tensor? found_inf=None) -> ()");
  m.def(
      "rmsprop_(Tensor(a!)[] weights, Tensor(b!)[] gradients, Tensor(c!)[] squares, Tensor(d!)[] averages, "
      "Tensor(e!)[] momenta, Tensor(f!)[] steps, float lr, float alpha, float eps, float weight_decay, "
      "float momentum, bool maximize, float? clip, bool steps_on_device, Tensor? lr_tensor=None, "
      "Tensor? grad_scale=None, Tensor? found_inf=None) -> ()");

  m.def("minibatch_discrimination(Tensor m, Tensor? tangents=None) -> Tensor");
  m.def("minibatch_discrimination_backward(Tensor grad, Tensor m, Tensor? tangents=None) -> Tensor");
  m.def("minibatch_discrimination_double_backward(Tensor grad, Tensor m, Tensor tangents) -> (Tensor, Tensor)");

  m.def("minibatch_stddev(Tensor x, int group) -> Tensor");
  m.def("minibatch_stddev_backward(Tensor grad, Tensor x, int group) -> Tensor");
  m.def("minibatch_stddev_double_backward(Tensor tangent, Tensor grad, Tensor x, int group) -> (Tensor, Tensor)");

  // (loss, signs, scales); signs and scales are empty where the backward pass needs none. `wide`: the loss is in the
  // type of sums.
  m.def(
      "feature_matching_loss(Tensor[] real, Tensor[] fake, int distance, bool normalize, int scale_reduction, bool "
      "wide, "
      "bool keep_signs) -> (Tensor, Tensor, Tensor)");
  // The features themselves need not be kept: `like` is an empty tensor of their dtype and device.
  m.def(
      "feature_matching_loss_l1_backward(Tensor grad, Tensor signs, Tensor scales, Tensor like, SymInt[] sizes, "
      "SymInt[] strides, int[] dims, bool normalize, int scale_reduction, bool real, bool fake) -> Tensor[]");
  m.def(
      "feature_matching_loss_l2_backward(Tensor grad, Tensor[] real, Tensor[] fake, Tensor scales, bool normalize, "
      "int scale_reduction, bool want_real, bool want_fake) -> Tensor[]");
  // Of x and y, for a signal of x alone: up, down, and the padding before and after.
  m.def("upfirdn(Tensor x, Tensor filter, int[] up, int[] down, int[] padding, bool flip, float gain) -> Tensor");

  // q = 1/(β + 1e-9) of each channel. The gradients are those of x, α and q.
  m.def("filtered_snake(Tensor x, Tensor alpha, Tensor q, Tensor up_filter, Tensor down_filter, int ratio) -> Tensor");
  m.def(
      "filtered_snake_backward(Tensor grad, Tensor x, Tensor alpha, Tensor q, Tensor up_filter, Tensor down_filter, "
      "int ratio) -> (Tensor, Tensor, Tensor)");
  m.def(
      "filtered_snake_double_backward(Tensor tangent_x, Tensor tangent_alpha, Tensor tangent_q, Tensor grad, Tensor x, "
      "Tensor alpha, Tensor q, Tensor up_filter, Tensor down_filter, int ratio) -> (Tensor, Tensor, Tensor, Tensor)");

  // `padding`: before and after along x, then along y. clamp < 0: none. The gradients are those of x and of b; the
  // slope is the derivative in a direction of x and b.
  m.def(
      "filtered_lrelu(Tensor x, Tensor b, Tensor up_filter, Tensor down_filter, int up, int down, int[] padding, "
      "float gain, float slope, float clamp, bool flip) -> Tensor");
  m.def(
      "filtered_lrelu_slope(Tensor direction, Tensor b_direction, Tensor x, Tensor b, Tensor up_filter, "
      "Tensor down_filter, int up, int down, int[] padding, float gain, float slope, float clamp, bool flip) -> "
      "Tensor");
  m.def(
      "filtered_lrelu_backward(Tensor grad, Tensor x, Tensor b, Tensor up_filter, Tensor down_filter, int up, int "
      "down, "
      "int[] padding, float gain, float slope, float clamp, bool flip) -> (Tensor, Tensor)");
}

// What was built, for ganops.build_info().
extern "C" __attribute__((visibility("default"))) const char* ganops_compiler() { return __VERSION__; }

#ifndef GANOPS_BACKEND_CUDA
extern "C" __attribute__((visibility("default"))) const char* ganops_cpu_isa() { return ganops::cpu::isa_name(); }
#endif
