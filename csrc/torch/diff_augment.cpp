// Differentiable augmentation as a torch operator; the schema is in schemas.cpp.
#include "../kernels/diff_augment.h"

#include "tensors.h"

GANOPS_DECLARE_KERNELS(DiffAugmentKernels, diff_augment)

namespace ganops {
namespace {

// Bits of `policy`, as in ganops/ops/diff_augment.py.
constexpr int64_t colour = 1, translation = 2, cutout = 4, every = 7;

Tensor diff_augment(const Tensor& images, const Tensor& parameters, int64_t policy, int64_t form) {
  STD_TORCH_CHECK(images.dim() == 4, "ganops: images must be (N, C, H, W)");
  STD_TORCH_CHECK((policy & ~every) == 0 && form >= 0 && form < static_cast<int64_t>(Form::count),
                  "ganops: no augmentation has this number");
  const auto sizes = images.sizes();
  STD_TORCH_CHECK(parameters.dim() == 2 && parameters.is_contiguous() && parameters.sizes()[0] == sizes[0] &&
                      parameters.sizes()[1] == 7 && raw_dtype(parameters) == accumulate_dtype(images) &&
                      parameters.get_device_index() == images.get_device_index(),
                  "ganops: parameters must be contiguous, (N, 7), in the accumulation dtype");
  const Target target("diff_augment", images.get_device_index());
  const bool contiguous = images.is_contiguous(), last = !contiguous && is_channels_last(images);
  const Tensor x = contiguous || last ? images : as_contiguous(images);
  const Images shape{sizes[0], sizes[1], sizes[2], sizes[3], last};
  const Augmentation how{(policy & colour) != 0, (policy & translation) != 0, (policy & cutout) != 0,
                         static_cast<Form>(form)};
  const auto& kernels = GANOPS_KERNELS(diff_augment);
  Tensor result = empty_as(x);
  void* out = output(result, "augmented");
  if (x.numel() > 0) {
    Workspace workspace(x, kernels.workspace(shape, how));
    kernels.apply(target.stream(), dtype_of(x), how, shape, input(x, "images"), input(parameters, "parameters"), out,
                  workspace.data());
  }
  return result;
}

}  // namespace

GANOPS_REGISTER(m) { m.impl("diff_augment", TORCH_BOX(&diff_augment)); }

}  // namespace ganops
