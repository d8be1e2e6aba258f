// Interpolation as torch operators; the schemas are in schemas.cpp.
#include "../kernels/interpolate.h"

#include "tensors.h"

GANOPS_DECLARE_KERNELS(InterpolateKernels, interpolate)

namespace ganops {
namespace {

void check_weight(const Tensor& weight, const Tensor& like, const Batch& batch) {
  STD_TORCH_CHECK(weight.dim() == 1 && weight.numel() == batch.samples && weight.is_contiguous() &&
                      raw_dtype(weight) == accumulate_dtype(like) &&
                      weight.get_device_index() == like.get_device_index(),
                  "ganops: weight must be a contiguous vector, one entry per sample, in the accumulation dtype");
}

Tensor interpolate(const Tensor& real, const Tensor& fake, const Tensor& weight) {
  check_same(real, fake);
  const Batch batch(real);
  check_weight(weight, real, batch);
  const Target target("interpolate", real.get_device_index());
  const Tensor r = dense_by_sample(real), f = laid_out_as(fake, r);
  Tensor result = empty_as(r);
  void* out = output(result, "result");
  if (result.numel() > 0) {
    GANOPS_KERNELS(interpolate)
        .forward(target.stream(), dtype_of(r), input(r, "real"), input(f, "fake"), input(weight, "weight"), out,
                 batch.samples, batch.size);
  }
  return result;
}

// The gradients that are asked for; an empty tensor in place of one that is not.
std::tuple<Tensor, Tensor> interpolate_backward(const Tensor& grad, const Tensor& weight, bool real, bool fake) {
  const Batch batch(grad);
  check_weight(weight, grad, batch);
  const Target target("interpolate_backward", grad.get_device_index());
  const Tensor g = dense_by_sample(grad);
  Tensor grad_real = real ? empty_as(g) : empty_vector(g, 0, raw_dtype(g));
  Tensor grad_fake = fake ? empty_as(g) : empty_vector(g, 0, raw_dtype(g));
  void* real_out = real ? output(grad_real, "grad_real") : nullptr;
  void* fake_out = fake ? output(grad_fake, "grad_fake") : nullptr;
  if (g.numel() > 0) {
    GANOPS_KERNELS(interpolate)
        .backward(target.stream(), dtype_of(g), input(g, "grad"), input(weight, "weight"), real_out, fake_out,
                  batch.samples, batch.size);
  }
  return {grad_real, grad_fake};
}

Tensor interpolate_weight_backward(const Tensor& grad, const Tensor& real, const Tensor& fake) {
  check_same(grad, real);
  check_same(grad, fake);
  const auto [samples, size] = Batch(grad);
  const Target target("interpolate_weight_backward", grad.get_device_index());
  const Tensor g = dense_by_sample(grad), r = laid_out_as(real, g), f = laid_out_as(fake, g);
  const auto& kernels = GANOPS_KERNELS(interpolate);
  Tensor result = empty_vector(g, samples, accumulate_dtype(g));
  Workspace workspace(g, kernels.workspace(samples, size));
  void* out = output(result, "grad_weight");
  if (samples > 0) {
    kernels.weight_backward(target.stream(), dtype_of(g), input(g, "grad"), input(r, "real"), input(f, "fake"), out,
                            workspace.data(), samples, size);
  }
  return result;
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_backward", TORCH_BOX(&interpolate_backward));
  m.impl("interpolate_weight_backward", TORCH_BOX(&interpolate_weight_backward));
}

}  // namespace ganops
