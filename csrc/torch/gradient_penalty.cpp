// The penalty on gradient norms as torch operators; the schemas are in schemas.cpp.
#include "../kernels/gradient_penalty.h"

#include "tensors.h"

GANOPS_DECLARE_KERNELS(GradientPenaltyKernels, gradient_penalty)

namespace ganops {
namespace {

Penalty penalty_of(double target, bool one_sided, int64_t reduction) {
  STD_TORCH_CHECK(reduction >= 0 && reduction <= 2, "ganops: no reduction has this number");
  return {target, one_sided, static_cast<Reduction>(reduction)};
}

// One number, or one per sample where nothing is reduced.
Tensor empty_result(const Tensor& gradient, const Penalty& penalty, int64_t samples) {
  return penalty.reduction == Reduction::none ? empty_vector(gradient, samples, raw_dtype(gradient))
                                              : empty_scalar(gradient);
}

Tensor check_grad(const Tensor& grad, const Tensor& gradient, const Penalty& penalty, int64_t samples) {
  check_same(grad, gradient, false);
  STD_TORCH_CHECK(grad.numel() == (penalty.reduction == Reduction::none ? samples : 1),
                  "ganops: the gradient of a penalty must have its shape");
  return as_contiguous(grad);
}

void check_norm(const Tensor& norm, const Tensor& gradient, int64_t samples) {
  STD_TORCH_CHECK(norm.numel() == samples && norm.is_contiguous() && raw_dtype(norm) == accumulate_dtype(gradient),
                  "ganops: there must be one norm per sample");
}

std::tuple<Tensor, Tensor> gradient_norm_penalty(const Tensor& gradient, double target, bool one_sided,
                                                 int64_t reduction) {
  const Batch batch(gradient);
  const Penalty penalty = penalty_of(target, one_sided, reduction);
  const Target where("gradient_norm_penalty", gradient.get_device_index());
  const Tensor g = dense_by_sample(gradient);
  const auto& kernels = GANOPS_KERNELS(gradient_penalty);
  Tensor result = empty_result(g, penalty, batch.samples);
  Tensor norm = empty_vector(g, batch.samples, accumulate_dtype(g));
  Workspace workspace(g, kernels.workspace(batch.samples, batch.size));
  kernels.forward(where.stream(), dtype_of(g), penalty, input(g, "gradient"), output(norm, "norm"),
                  output(result, "penalty"), workspace.data(), batch.samples, batch.size);
  return {result, norm};
}

Tensor gradient_norm_penalty_backward(const Tensor& grad, const Tensor& gradient, const Tensor& norm, double target,
                                      bool one_sided, int64_t reduction) {
  const Batch batch(gradient);
  const Penalty penalty = penalty_of(target, one_sided, reduction);
  const Target where("gradient_norm_penalty_backward", gradient.get_device_index());
  const Tensor g = dense_by_sample(gradient), above = check_grad(grad, gradient, penalty, batch.samples);
  check_norm(norm, gradient, batch.samples);
  Tensor result = empty_as(g);
  void* out = output(result, "grad_gradient");
  if (g.numel() > 0) {
    GANOPS_KERNELS(gradient_penalty)
        .backward(where.stream(), dtype_of(g), penalty, input(above, "grad"), input(g, "gradient"), input(norm, "norm"),
                  out, batch.samples, batch.size);
  }
  return result;
}

std::tuple<Tensor, Tensor> gradient_norm_penalty_double_backward(const Tensor& tangent, const Tensor& grad,
                                                                 const Tensor& gradient, const Tensor& norm,
                                                                 double target, bool one_sided, int64_t reduction) {
  const Batch batch(gradient);
  Penalty penalty = penalty_of(target, one_sided, reduction);
  // The mean over no samples is NaN, but its derivatives are 0.
  if (batch.samples == 0 && penalty.reduction == Reduction::mean) penalty.reduction = Reduction::sum;
  check_same(tangent, gradient);
  const Target where("gradient_norm_penalty_double_backward", gradient.get_device_index());
  const Tensor g = dense_by_sample(gradient), t = laid_out_as(tangent, g);
  const Tensor above = check_grad(grad, gradient, penalty, batch.samples);
  check_norm(norm, gradient, batch.samples);
  const auto& kernels = GANOPS_KERNELS(gradient_penalty);
  Tensor grad_out = empty_result(g, penalty, batch.samples), gradient_out = empty_as(g);
  Workspace workspace(g, kernels.workspace(batch.samples, batch.size));
  kernels.double_backward(where.stream(), dtype_of(g), penalty, input(t, "tangent"), input(above, "grad"),
                          input(g, "gradient"), input(norm, "norm"), output(grad_out, "grad_grad"),
                          output(gradient_out, "grad_gradient"), workspace.data(), batch.samples, batch.size);
  return {grad_out, gradient_out};
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("gradient_norm_penalty", TORCH_BOX(&gradient_norm_penalty));
  m.impl("gradient_norm_penalty_backward", TORCH_BOX(&gradient_norm_penalty_backward));
  m.impl("gradient_norm_penalty_double_backward", TORCH_BOX(&gradient_norm_penalty_double_backward));
}

}  // namespace ganops
