// Weight clipping as a torch operator; the schema is in schemas.cpp.
#include "tensors.h"

namespace ganops {
namespace {

// All tensors of a call share dtype and device; Python groups them.
void clip_weights_(const std::vector<Tensor>& tensors, double limit) {
  if (tensors.empty()) return;
  const Target target("clip_weights_", tensors[0].get_device_index());
  std::vector<void*> data;
  std::vector<int64_t> count;
  data.reserve(tensors.size());
  count.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    check_same(tensor, tensors[0], false);
    STD_TORCH_CHECK(is_dense(tensor), "ganops: weights to clip must be dense");
    const int64_t elements = tensor.numel();
    if (elements == 0) continue;
    data.push_back(in_place(tensor, "weights"));
    count.push_back(elements);
  }
  GANOPS_KERNELS(clip_weights).clip(target.stream(), dtype_of(tensors[0]), data.data(), count.data(), data.size(), limit);
}

}  // namespace

GANOPS_REGISTER(m) { m.impl("clip_weights_", TORCH_BOX(&clip_weights_)); }

}  // namespace ganops
