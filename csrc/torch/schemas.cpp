// Every operator that the library defines. Numbers of kinds, roles and reductions are those of the enums in
// csrc/kernels and csrc/math; Python turns names into them.
#include <torch/csrc/stable/library.h>

#ifndef GANOPS_BACKEND_CUDA
#include "../cpu/isa.h"
#endif

STABLE_TORCH_LIBRARY(ganops, m) {
  // `choice` is kind, role and reduction in one number (see adversarial_loss.cpp), and a kind's own parameters go
  // without saying: parsing a scalar takes as long as a kernel of 64 logits.
  m.def("adversarial_loss(Tensor logits, int choice, float? parameter=None) -> Tensor");
  m.def("adversarial_loss_backward(Tensor grad, Tensor logits, int choice, float? parameter=None) -> Tensor");
  m.def(
      "adversarial_loss_double_backward(Tensor tangent, Tensor grad, Tensor logits, int choice, "
      "float? parameter=None) -> (Tensor, Tensor)");
  m.def(
      "discriminator_loss(Tensor real, Tensor fake, int choice, float? real_parameter=None, "
      "float? fake_parameter=None) -> Tensor");
  m.def(
      "discriminator_loss_backward(Tensor grad, Tensor real, Tensor fake, int choice, float? real_parameter=None, "
      "float? fake_parameter=None) -> (Tensor, Tensor)");
  m.def(
      "discriminator_loss_double_backward(Tensor tangent_real, Tensor tangent_fake, Tensor grad, Tensor real, "
      "Tensor fake, int choice, float? real_parameter=None, float? fake_parameter=None) "
      "-> (Tensor, Tensor, Tensor)");
  // With the gradients for an upstream gradient of one. There are kernels for the CPU alone.
  m.def("adversarial_loss_and_gradient(Tensor logits, int choice, float? parameter=None) -> (Tensor, Tensor)");
  m.def(
      "discriminator_loss_and_gradients(Tensor real, Tensor fake, int choice, float? real_parameter=None, "
      "float? fake_parameter=None) -> (Tensor, Tensor, Tensor)");

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

  // Of x and y, for a signal of x alone: up, down, and the padding before and after.
  m.def("upfirdn(Tensor x, Tensor filter, int[] up, int[] down, int[] padding, bool flip, float gain) -> Tensor");
}

// What was built, for ganops.build_info().
extern "C" __attribute__((visibility("default"))) const char* ganops_compiler() { return __VERSION__; }

#ifndef GANOPS_BACKEND_CUDA
extern "C" __attribute__((visibility("default"))) const char* ganops_cpu_isa() { return ganops::cpu::isa_name(); }
#endif
