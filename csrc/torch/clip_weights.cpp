// Weight clipping as a torch operator; the schema is in schemas.cpp.
#include "tensors.h"

namespace ganops {
namespace {

// All tensors of a call share dtype and device and are dense; that is checked before anything is written.
void clip_weights_(const std::vector<Tensor>& tensors, double limit) {
  if (tensors.empty()) return;
  const int32_t dtype = raw_dtype(tensors[0]), device = tensors[0].get_device_index();
  const DType type = dtype_of(tensors[0]);
  const Target target("clip_weights_", device);
  std::vector<void*> data;
  std::vector<int64_t> count;
  data.reserve(tensors.size());
  count.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    STD_TORCH_CHECK(raw_dtype(tensor) == dtype && tensor.get_device_index() == device && is_dense(tensor),
                    "ganops: weights to clip must be dense and have one dtype and one device");
    const int64_t elements = tensor.numel();
    if (elements == 0) continue;
    data.push_back(in_place(tensor, "weights"));
    count.push_back(elements);
  }
  GANOPS_KERNELS(clip_weights).clip(target.stream(), type, data.data(), count.data(), data.size(), limit);
}

}  // namespace

GANOPS_REGISTER(m) { m.impl("clip_weights_", TORCH_BOX(&clip_weights_)); }

}  // namespace ganops
